"""What tests share: strategies, models, files, runners. No tests."""
