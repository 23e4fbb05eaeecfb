"""What finished tasks hold: result files within their memory, transcripts, renderings."""
