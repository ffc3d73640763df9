-- Phone numbers keep their digits, and the domain of an email address is compared in its ASCII form:
-- the terms of records are made anew by the rule of this version, so no node of the version before can
-- work beside one of this.
UPDATE revisions SET revision = 0 WHERE what = 'terms';
