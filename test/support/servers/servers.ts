/**
 * Gives a test file its share of the two servers of the run: a database, a task queue and a namespace. Files run in parallel, so shared
 * data would make one file fail because of another.
 */
import { Connection } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
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

/** The databases of the test file that imports this module. */
const made: string[] = []

// oxlint-disable-next-line no-empty-pattern -- vitest hands the file over second and insists on this form
afterAll(async ({}, file) => {
  if (hasFailed(file))
    return void process.stderr.write(`${file.name} failed; its databases: ${made.join(', ')}\n`)
  for (const name of made)
    await exclusively(inject('postgresUrl'), (client) => client.query(`drop database ${name} with (force)`))
})

/** Creates an empty database and returns its URL. The database is dropped after the file, unless a test of the file failed. */
export async function freshDatabase(): Promise<string> {
  return createDatabase()
}

/** Creates a database with the schema of this build, copied from a database that is migrated once per run. */
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

/** Returns the URL with the role of the application, which can only append to the audit log. */
export function applicationUrl(url: string): string {
  const given = new URL(url)
  given.username = applicationRole
  given.password = ''
  return given.toString()
}

/** Limits, in milliseconds, for tests that do not test deadlines and may run on a busy machine. */
export const patient = { connectMs: 60_000, queryMs: 60_000 }

export const openPatientStore = (url: string, options: StoreOptions = {}): Store =>
  openStore(url, { ...patient, ...options })

/** Returns the address of the run's Temporal server. */
export function temporalAddress(): string {
  return inject('temporalAddress')
}

/** Addresses of the two servers that a control worker needs. */
export interface Servers {
  databaseUrl: string
  temporalAddress: string
}

/** Creates a migrated database and returns it with the address of the run's Temporal server. */
export const ownServers = async (): Promise<Servers> => ({
  databaseUrl: await migratedDatabase(),
  temporalAddress: temporalAddress(),
})

/** Connects to Temporal with a limit of 200 s. The default of 10 s is for commands that report an unreachable server. */
export function connectTemporal(address = temporalAddress()): Promise<Connection> {
  return Connection.connect({ address, connectTimeout: 200_000 })
}

/** Returns a unique name for a task queue, a workflow id or a model. */
export function uniqueName(prefix = 'test'): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`
}

/**
 * Returns the same name in each run, for a model of a test in a database of its file. Ids that are derived from it are fixed as well, so
 * no draw decides which of them a sample or a split by hash contains.
 */
export function nameOfTest(prefix: string): string {
  const title = expect.getState().currentTestName
  return `${prefix}-${createHash('sha256').update(title!).digest('hex').slice(0, 10)}`
}

/**
 * Waits until the day in UTC lasts for two more minutes, so that it does not end during the test, and returns its start as milliseconds
 * of the epoch.
 */
export async function startOfDay(): Promise<number> {
  const dayMs = 86_400_000
  while (dayMs - (Date.now() % dayMs) < 120_000) await pause(1_000)
  return Date.now() - (Date.now() % dayMs)
}

/** Creates a namespace with the project's search attributes, for tests that list or count workflows. Takes about a second. */
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

/** Copies files; logging each page of the template would take twice the CPU time. */
async function createDatabase(template = 'template1'): Promise<string> {
  const name = uniqueName('test').replace('-', '_')
  const admin = inject('postgresUrl')
  await exclusively(admin, (client) =>
    client.query(`create database ${name} template ${template} strategy file_copy`),
  )
  made.push(name)
  return urlOf(name)
}

/** Serialises copies: a database cannot be copied while another session copies or fills it. */
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
