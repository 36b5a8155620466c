/** Tests queries of users: they run as a separate role with limited privileges and leave nothing behind. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { findRoleWeaknesses } from '../../../store/database/application-role.ts'
import { foreignReader, type RowBatch } from '../../../store/database/cursor.ts'
import type { Store } from '../../../store/postgres.ts'
import { checkout } from '../../../temporal.config.ts'
import { blocksOf } from '../../support/docs/markdown.ts'
import { applicationUrl, migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let owner: Store
let application: Store
beforeAll(async () => {
  const url = await migratedDatabase()
  owner = openPatientStore(url, { max: 1 })
  application = openPatientStore(applicationUrl(url), { max: 2 })
  await owner.query(sql`create table granted as select generate_series(1, 3) as id`)
  await owner.query(sql`create table hidden as table granted`)
  await owner.query(sql`grant select on granted to tenure_reader`)
})
afterAll(async () => {
  await application?.close()
  await owner?.close()
})

const rowsOf = async (query: string, store: Pick<Store, 'readerUrl'> = application) => {
  const batches: RowBatch[] = []
  await foreignReader(store)(query, async (batch) => void batches.push(batch))
  return batches.flatMap(({ rows }) => rows)
}
const openReaders = async () =>
  owner.query(sql`
    select from pg_stat_activity where usename = 'tenure_reader' and datname = current_database()`)

describe('a query from outside', () => {
  it('reads what was granted, with a deadline, and leaves no connection', async () => {
    expect(await rowsOf('select id from granted order by id')).toEqual([['1'], ['2'], ['3']])
    const settings = ['statement_timeout', 'transaction_read_only', 'idle_in_transaction_session_timeout']
    expect(
      await rowsOf(`select name, setting from pg_settings where name in ('${settings.join(`','`)}')`),
    ).toEqual([
      ['idle_in_transaction_session_timeout', '600000'],
      ['statement_timeout', '60000'],
      ['transaction_read_only', 'on'],
    ])
    await expect.poll(openReaders).toEqual([])
  })

  it.each([
    [`select pg_advisory_lock(hashtext('tenure.audit'))`, 'function pg_advisory_lock'],
    [`select pg_try_advisory_lock_shared(1, 2)`, 'function pg_try_advisory_lock_shared'],
    [`select pg_read_file('/etc/passwd')`, 'function pg_read_file'],
    [`select pg_notify('tenure_routing', 'iris')`, 'function pg_notify'],
    [`select pg_terminate_backend(pid) from pg_stat_activity`, 'function pg_terminate_backend'],
    [`select set_config('statement_timeout', '0', false)`, 'function set_config'],
    [`select hash from api_keys`, 'table api_keys'],
    [`select outputs from predictions`, 'table predictions'],
    [`select id from hidden`, 'table hidden'],
  ])('%s is refused', async (query, what) => {
    await expect(rowsOf(query)).rejects.toThrow(
      new RegExp(`^permission denied for ${what}: queries of batches and sources run as tenure_reader[,;] `),
    )
    // An audited change does not wait.
    await application.transaction((database) =>
      appendAudit(database, { actor: 'anna', action: 'a', subject: 's', detail: {} }),
    )
  })

  it('needs the grants of the page on tables, which the refusal names', async () => {
    const page = readFileSync(join(checkout, 'docs/how-to/projects/tables.md'), 'utf8')
    const load = blocksOf(page).find(({ notes }) => notes['run'] === 'load')!.text
    const [create, grants] = load.split(/^\\copy .*$/m)
    await owner.query(sql`${raw(create!)}`)
    await owner.query(sql`insert into shop.orders values (1, '2026-11-01', 2.5, 'red')`)
    await expect(rowsOf('select id from shop.orders')).rejects.toThrow(
      'permission denied for schema shop: queries of batches and sources run as tenure_reader; if it may read this, run "grant usage on schema <schema> to tenure_reader; grant select on <table> to tenure_reader"',
    )
    await owner.query(sql`${raw(grants!)}`)
    expect(await rowsOf('select id from shop.orders')).toEqual([['1']])
    await owner.query(sql`create table shop.later as select 2 as id`)
    expect(await rowsOf('select id from shop.later')).toEqual([['2']])
  })

  it('is one statement', () =>
    expect(rowsOf('select 1; select pg_sleep(0)')).rejects.toThrow(/multiple commands/))

  it('never runs as another role when the reader cannot log in', async () => {
    const readerUrl = application.readerUrl!.replace('tenure_reader', 'not_there')
    await expect(rowsOf('select 1', { readerUrl })).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: expect.stringMatching(
        /run as the role not_there, which cannot connect.*TENURE_READER_DATABASE_URL/,
      ),
    })
  })
})

it('the reader has no privilege on any table of Tenure, and a start names excess privileges', async () => {
  const readable = await owner.query<{ name: string }>(sql`
    select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'S')
      and has_table_privilege('tenure_reader', oid, 'select, insert, update, delete, truncate')`)
  expect(readable).toEqual([{ name: 'granted' }])
  expect(await findRoleWeaknesses(application)).toEqual([])
  await owner.query(sql`grant select on api_keys to tenure_reader`)
  expect(await findRoleWeaknesses(application)).toEqual([expect.stringContaining('can read api_keys')])
  await owner.query(sql`revoke select on api_keys from tenure_reader`)
  await owner.query(sql`${raw('grant execute on function pg_advisory_lock(bigint) to tenure_reader')}`)
  expect(await findRoleWeaknesses(application)).toEqual([
    expect.stringContaining('deploy/postgres/include/reader.sql'),
  ])
  await owner.query(sql`${raw('revoke execute on function pg_advisory_lock(bigint) from tenure_reader')}`)
})

/** What is wrong, the statement that makes it so, and what a start names. */
const wrongScopes: [what: string, statement: string, named: RegExp][] = [
  [
    'absent',
    'alter role tenure_scoped rename to elsewhere',
    /tenure_scoped does not exist, so that requests/,
  ],
  [
    'exempt from row-level security',
    'alter role tenure_scoped bypassrls',
    /has the rows of all; run "alter role/,
  ],
  ['a superuser', 'alter role tenure_scoped superuser', /has the rows of all; run "alter role/],
  [
    'a member of tenure_app',
    'revoke tenure_scoped from tenure_app; grant tenure_app to tenure_scoped',
    /has the privileges of tenure_app/,
  ],
  [
    'a reader of all data',
    'grant pg_read_all_data to tenure_scoped',
    /has the privileges of pg_read_all_data/,
  ],
  ['not granted', 'revoke tenure_scoped from tenure_app', /run "grant tenure_scoped to tenure_app"/],
  [
    'not limited in a table',
    'alter table versions disable row level security',
    /rows of others in versions;/,
  ],
  [
    'without its policies',
    `do $$ declare each record; begin
    for each in select polrelid::regclass as name from pg_policy where polname = 'rows_of_models'
    loop execute format('drop policy rows_of_models on %s', each.name); end loop; end $$`,
    /was migrated without the role/,
  ],
  ['a reader of a hidden table', 'grant select on api_keys to tenure_scoped', /rows of others in api_keys;/],
  ['a writer of a shared table', 'grant insert on replicas to tenure_scoped', /rows of others in replicas;/],
  ['a writer of earlier audit rows', 'grant delete on audit to tenure_scoped', /rows of others in audit;/],
  ['able to empty a table', 'grant truncate on releases to tenure_scoped', /rows of others in releases;/],
  [
    'the owner of a table',
    'grant create on schema public to tenure_scoped; alter table releases owner to tenure_scoped',
    /rows of others in releases;/,
  ],
  ['of a second policy', 'create policy more on releases using (true)', /rows of others in releases;/],
  [
    'kept from a table',
    'revoke select on releases from tenure_scoped',
    /may not read releases, so that requests/,
  ],
]

it.each(wrongScopes)(
  'a start names the role of the keys of some models when it is %s',
  async (_what, statement, named) => {
    // Never committed: the role belongs to the server.
    const found = owner.transaction(async (database) => {
      await database.query(sql`${raw(statement)}`)
      await database.query(sql`set local role tenure_app`)
      throw new Error((await findRoleWeaknesses(database)).join('; '))
    })
    await expect(found).rejects.toThrow(named)
    expect(await findRoleWeaknesses(application)).toEqual([])
  },
)
