"""Results of jobs: written by what computes, read back for pages, downloads and dialects; FITS, ECSV and JSON, never a pickle."""
