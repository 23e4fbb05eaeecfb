// Reads a compose file as Docker Compose does, and prints it with all that it leaves out.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	project, err := load(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	text, err := project.MarshalJSON()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(text)
}

func load(paths []string) (*types.Project, error) {
	options, err := cli.NewProjectOptions(paths)
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}
