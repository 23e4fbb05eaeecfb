"""The vendor's regions and their hosts, shared by all accounts or of one workspace. Pure data.

Facts: the vendor's pages on base URLs and regions, 2026-11-29.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

BEIJING, SINGAPORE, VIRGINIA = "cn-beijing", "ap-southeast-1", "us-east-1"
HONG_KONG, TOKYO, FRANKFURT = "cn-hongkong", "ap-northeast-1", "eu-central-1"
REGIONS = (BEIJING, SINGAPORE, VIRGINIA, HONG_KONG, TOKYO, FRANKFURT)

SHARED_HOSTS: Mapping[str, str] = MappingProxyType(
    {
        BEIJING: "dashscope.aliyuncs.com",
        SINGAPORE: "dashscope-intl.aliyuncs.com",
        VIRGINIA: "dashscope-us.aliyuncs.com",
        HONG_KONG: "cn-hongkong.dashscope.aliyuncs.com",
    }
)
"""Hosts for the keys of every account; the other regions only have hosts of workspaces."""
UPLOAD_REGIONS = (BEIJING, SINGAPORE)
"""Regions whose temporary store for local files is documented (docs/provider.md, section 10)."""
API_PATH = "/api/v1"
"""The path of the vendor's native API on each host."""
_WORKSPACE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)


def base_url_of(region: str, workspace: str | None) -> str:
    """The API's URL in one of `REGIONS`: the workspace's own host, without a workspace the shared host.

    Raises ValueError, with a sentence, if there is no such host.
    """
    if workspace is None:
        if region not in SHARED_HOSTS:
            raise ValueError(f"{region} has no host that workspaces share")
        return f"https://{SHARED_HOSTS[region]}{API_PATH}"
    if not _WORKSPACE.fullmatch(workspace):
        raise ValueError("a workspace's id has letters, digits and dashes, since it begins a host's name")
    return f"https://{workspace.lower()}.{region}.maas.aliyuncs.com{API_PATH}"
