"""The verbs of the product, a file per noun. The command line, the API and Python all call these."""
