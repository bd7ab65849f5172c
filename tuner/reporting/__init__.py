"""What a campaign showed, as a function of its ledger alone."""
