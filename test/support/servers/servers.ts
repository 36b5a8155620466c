/**
 * A test file's share of the two servers of the run: a database of its own, a task queue of its own, a namespace of its
 * own. Files run side by side, so anything shared between two of them would make one fail because of the other.
 */
import { Connection } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, expect, inject } from 'vitest'
import { applicationRole, openRoles } from '../../../store/database/application-role.ts'
import { migrate } from '../../../store/database/migrate.ts'
import { openStore, type Store, type StoreOptions } from '../../../store/postgres.ts'
import { searchAttributes } from '../../../temporal.config.ts'
import '../global-setup.ts'

const MIGRATED = 'tenure_migrated'
/** Keyword in Temporal's list of value types. */
const KEYWORD = 2

/** The databases of the file that imports this module. */
const made: string[] = []

// oxlint-disable-next-line no-empty-pattern -- vitest hands the file over second and insists on this form
afterAll(async ({}, file) => {
  if (hasFailed(file))
    return void process.stderr.write(`${file.name} failed; its databases: ${made.join(', ')}\n`)
  for (const name of made)
    await exclusively(inject('postgresUrl'), (client) => client.query(`drop database ${name} with (force)`))
})

/** The URL of a new, empty database. It is dropped after the file, and kept for a look when a test of the file failed. */
export async function freshDatabase(): Promise<string> {
  return createDatabase()
}

/** The same with the schema of this build in it, copied from one that is migrated once per run. */
export async function migratedDatabase(): Promise<string> {
  const admin = inject('postgresUrl')
  await exclusively(admin, async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [MIGRATED])
    if (rowCount !== 0) return
    await client.query(`create database ${MIGRATED}_draft`)
    await migrate(urlOf(`${MIGRATED}_draft`))
    await openRoles(urlOf(`${MIGRATED}_draft`))
    await client.query(`alter database ${MIGRATED}_draft rename to ${MIGRATED}`)
  })
  return createDatabase(MIGRATED)
}

/** The same database as the processes of the application see it: with a role that may only add to the audit. */
export function applicationUrl(url: string): string {
  const given = new URL(url)
  given.username = applicationRole
  given.password = ''
  return given.toString()
}

/** Statements of tests that are not about a deadline wait for a busy machine. */
export const patient = { connectMs: 60_000, queryMs: 60_000 }

export const openPatientStore = (url: string, options: StoreOptions = {}): Store =>
  openStore(url, { ...patient, ...options })

/** Where the Temporal server of the run listens. */
export function temporalAddress(): string {
  return inject('temporalAddress')
}

/** The two servers that a core stands on. */
export interface Servers {
  databaseUrl: string
  temporalAddress: string
}

/** A migrated database of the file's own, and the Temporal server of the run. */
export const ownServers = async (): Promise<Servers> => ({
  databaseUrl: await migratedDatabase(),
  temporalAddress: temporalAddress(),
})

/** A connection to Temporal. The default of 10 s is for commands that must say why they do not reach it. */
export function connectTemporal(address = temporalAddress()): Promise<Connection> {
  return Connection.connect({ address, connectTimeout: 200_000 })
}

/** A name no other test uses, for a task queue, a workflow id or a model. */
export function uniqueName(prefix = 'test'): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`
}

/** A new namespace with the project's search attributes, for tests that list or count workflows. Takes about a second. */
export async function freshNamespace(): Promise<string> {
  const namespace = uniqueName('namespace')
  const connection = await connectTemporal()
  try {
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: msToTs('1 day'),
    })
    const wanted = Object.fromEntries(searchAttributes.map((name) => [name, KEYWORD]))
    await expect
      .poll(async () => {
        await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: wanted })
        const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace })
        return Object.keys(customAttributes ?? {}).sort()
      })
      .toEqual([...searchAttributes].sort())
    return namespace
  } finally {
    await connection.close()
  }
}

/** By copying files: logging each page of the template takes twice the CPU. */
async function createDatabase(template = 'template1'): Promise<string> {
  const name = uniqueName('test').replace('-', '_')
  const admin = inject('postgresUrl')
  await exclusively(admin, (client) =>
    client.query(`create database ${name} template ${template} strategy file_copy`),
  )
  made.push(name)
  return urlOf(name)
}

/** One file at a time: a database cannot be copied while another session copies or fills it. */
async function exclusively(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 200_000,
    query_timeout: 200_000,
  })
  await client.connect()
  try {
    await client.query(`select pg_advisory_lock(hashtext('databases'))`)
    await work(client)
  } finally {
    await client.end()
  }
}

function urlOf(name: string): string {
  const url = new URL(inject('postgresUrl'))
  url.pathname = `/${name}`
  return url.toString()
}

interface Outcome {
  name: string
  result?: { state: string }
  tasks?: Outcome[]
}

function hasFailed(task: Outcome): boolean {
  return task.result?.state === 'fail' || (task.tasks ?? []).some(hasFailed)
}
