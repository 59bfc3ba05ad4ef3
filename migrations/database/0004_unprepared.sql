-- Started before its keepers could be chosen: it has none, and what it has written since is on its host alone. That stays, and is shown.
UPDATE database SET keeping = '{"keepers":[],"quorum":0}' WHERE keeping IS NULL AND json_extract(state, '$.term') > 0;
