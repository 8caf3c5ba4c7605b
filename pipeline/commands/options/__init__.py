"""What several commands share: options, completion of their values, and forms of documents."""
