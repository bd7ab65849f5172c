"""MLflow as a view of the ledger: the only importer of mlflow."""
