-- Where the managed database that it reads from can be read now, as that said last.
CREATE TABLE source_standing (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
