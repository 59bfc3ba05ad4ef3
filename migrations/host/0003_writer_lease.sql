-- Until when the writers of databases on this host may go on without another word, ms since 1970: of whichever was renewed last.
CREATE TABLE writer_lease (one INTEGER PRIMARY KEY CHECK (one = 1), until INTEGER NOT NULL);
