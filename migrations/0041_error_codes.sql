-- The code of the error that has failed a training, for its remedy.
alter table retrainings add column error_code text;
alter table trials add column error_code text;
