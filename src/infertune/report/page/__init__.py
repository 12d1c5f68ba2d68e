"""The report as one HTML file: everything inside it, nothing fetched, nothing from outside ever markup."""
