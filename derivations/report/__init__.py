"""Claims and verdicts as text, Markdown and HTML."""
