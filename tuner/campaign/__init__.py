"""The campaign: its document, its ledger, and the views folded from the ledger. No Ray, Optuna or MLflow here."""
