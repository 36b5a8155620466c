-- The verdicts against candidates are looked for at every look of a release, which may have stored a hundred thousand others.
create index decisions_against on decisions (release_id) where kind = 'fail';
