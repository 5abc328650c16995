"""Jobs: workers run them, webhooks report them, retention deletes them."""
