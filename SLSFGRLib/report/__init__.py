"""The report of a registration: ``report.json``, and a page with pictures for judging the result by eye."""
