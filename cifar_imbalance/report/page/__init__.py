"""report.html: one self-contained page that opens offline, of a run, an ensemble, a comparison or a sweep."""
