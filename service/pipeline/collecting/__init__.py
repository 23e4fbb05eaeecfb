"""The results of finished tasks: result files and their memory, transcripts, renderings."""
