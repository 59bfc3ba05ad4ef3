-- To count them, and to find them when all that failed is to be sent again.
CREATE INDEX event_dead ON event (number) WHERE status = 'dead';
