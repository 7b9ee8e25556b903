"""Results → numbers in words, HTML tables, SVG figures and Markdown. Knows results, not models."""
