/** Applies the roles of deploy/postgres and migrates as their owner, who is not a superuser. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import sql from 'sql-template-tag'
import { afterAll, expect, inject, it } from 'vitest'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { findRoleWeaknesses } from '../../store/database/application-role.ts'
import { foreignReader } from '../../store/database/cursor.ts'
import { migrate } from '../../store/database/migrate.ts'
import { checkout } from '../../temporal.config.ts'
import { applicationUrl, migratedDatabase, openPatientStore, uniqueName } from '../support/servers/servers.ts'

const directory = join(checkout, 'deploy', 'postgres')
const owner = uniqueName('owner').replace('-', '_')
const urlOf = (database: string, user = 'tenure') => {
  const url = new URL(inject('postgresUrl'))
  url.username = user
  url.pathname = `/${database}`
  return url.toString()
}

async function run(database: string, text: string): Promise<void> {
  const client = new pg.Client(urlOf(database))
  await client.connect()
  try {
    // Each statement alone, because a database cannot be created in a transaction.
    for (const statement of text.includes('$$') ? [text] : text.split(/;\n/))
      if (statement.trim() !== '') await client.query(statement)
  } finally {
    await client.end()
  }
}

/** Returns the file without psql commands, with an owner and a database of this test; the other roles belong to the server. */
const textOf = (name: string) =>
  readFileSync(join(directory, name), 'utf8')
    .replace(/^\\getenv .*$|^create role (tenure_app|tenure_scoped|tenure_reader|temporal) .*$|^--.*$/gm, '')
    .replaceAll(/\btenure\b/g, owner)
    .replaceAll(/:'\w+'/g, `'x'`)

afterAll(async () => {
  await run('postgres', `drop database if exists ${owner} with (force);\ndrop role if exists ${owner}`)
})

it('the owner of deploy/postgres migrates, and the processes and the reader get no more than they need', async () => {
  // The other roles exist once a database has been migrated.
  await migratedDatabase()
  const [roles = '', inside = ''] = textOf('roles.sql').split(/^\\connect \w+$/m)
  expect(inside.trim()).toBe(`\\ir include/reader.sql`)
  // Syntax of Postgres 16; `tenure doctor` accepts 15.
  expect(roles).not.toMatch(/^grant .* with (inherit|set)\b/m)
  await run('postgres', roles)
  await run(owner, textOf('include/reader.sql'))
  await migrate(urlOf(owner, owner))
  const application = openPatientStore(applicationUrl(urlOf(owner)), { max: 1 })
  try {
    expect(await findRoleWeaknesses(application)).toEqual([])
    await application.transaction((database) =>
      appendAudit(database, { actor: 'a', action: 'a', subject: 's', detail: {} }),
    )
    expect(await application.query(sql`select make_prediction_day('2001-01-01') as made`)).toEqual([
      { made: true },
    ])
    expect(await application.query(sql`select drop_prediction_day('2002-01-01') as dropped`)).toEqual([
      { dropped: 'predictions_20010101' },
    ])
    const read = (query: string) => foreignReader(application)(query, async () => {})
    await read('select 1')
    await expect(read(`select pg_advisory_lock(hashtext('tenure.audit'))`)).rejects.toThrow(
      'permission denied',
    )
    await expect(application.query(sql`select pg_read_file('/etc/hosts')`)).rejects.toThrow(
      'permission denied',
    )
  } finally {
    await application.close()
  }
})

it('compose.yaml gives each process the role that it needs', () => {
  const text = readFileSync(join(checkout, 'compose.yaml'), 'utf8')
  const users = [...text.matchAll(/^ +(\w+): '?postgres:\/\/(\w+):/gm)].map(([, name, user]) => [name, user])
  expect(users).toEqual([
    ['DATABASE_URL', 'tenure_app'],
    ['TENURE_READER_DATABASE_URL', 'tenure_reader'],
    ['TENURE_OWNER_DATABASE_URL', 'tenure'],
  ])
  for (const [, path = ''] of text.matchAll(/\.\/(deploy\/\S+?):/g))
    expect(readFileSync(join(checkout, path), 'utf8')).toContain('role')
})
