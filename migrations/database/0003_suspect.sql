-- Why a gateway cannot reach the writer that it was told of; null while it can, or has not tried.
ALTER TABLE lease ADD COLUMN suspect TEXT;
