/**
 * Opens connections to Postgres. Every pool has deadlines for connecting and for each query, because the driver waits without limit by
 * default, and an error listener, because a killed backend would otherwise end the process.
 */
import pg from 'pg'
import type { Sql } from 'sql-template-tag'
import { DomainError, isError } from '../domain/errors.ts'
import { redacted } from '../domain/redact.ts'
import type { SignRow } from './audit/row-signatures.ts'
import { withIsoDates } from './database/connection-options.ts'
import { isOutdatedPlan, named, preparedName, renamePlan } from './database/prepared.ts'
import { createOutageTracker, type Outage, isReadOnly, meaningOfOutage } from './outage.ts'
import { createObservedLeases, type ObservedLeases } from './serving/observed-leases.ts'
import { tlsIssueOfPostgres } from './tls/certificate.ts'

export type Rows<T> = Promise<T[]>

/** Runs statements: in the pool, or in one connection inside a transaction. */
export interface Database {
  query<T extends object = Record<string, unknown>>(statement: Sql): Rows<T>
  /** Signs the audit rows of this process; absent in tools without a key. */
  signAudit?: SignRow
}

export interface Store extends Database {
  /** Runs `work` in one transaction; any throw rolls it back. `statementMs`: the deadline of its statements, if it is another. */
  transaction<T>(work: (database: Database) => Promise<T>, options?: { statementMs?: number }): Promise<T>
  /**
   * The same tables as a key of some models has them: without the rows of other models, which it neither reads nor writes, and without the
   * tables of the installation (migrations/0021_scopes.sql). Every statement throws `forbidden` for another table, or for a row that it
   * writes for another model. It has no other road to the database: it lends no connection, and knows no other role or source.
   */
  scoped(scope: Scope): Store
  /** Calls back on every NOTIFY of the channel, and once after each reconnect, until the returned function is called. */
  listen(channel: string, onNotice: (payload: string | undefined) => void): () => Promise<void>
  /** The leases of replicas, as this process has observed them in this database. */
  leases: ObservedLeases
  /** The recent failure of the server; undefined when all recent operations succeeded. */
  outage(): Outage | undefined
  /** Records an error from a direct use of `pool`. */
  saw(error: unknown): void
  /** The connection URL of the role that runs external queries. */
  readerUrl: string | undefined
  /** The path of the file that names other sources. */
  metricSources: string | undefined
  /** For COPY and other direct uses of the driver. */
  pool: pg.Pool
  close(): Promise<void>
}

/** A key of some models. */
export interface Scope {
  id: string
  name: string
  models: Iterable<string>
}

export interface StoreOptions {
  /** The maximum number of connections. */
  max?: number
  /** The deadline of every query in milliseconds, including the wait for its connection. */
  queryMs?: number
  /** How long a query waits for its connection. A connection that takes longer to open serves a later query. */
  connectMs?: number
  /** How long a transaction may be idle before the server ends it and releases its locks. */
  idleMs?: number
  /** Called with the error of a broken idle connection, which the pool replaces. */
  onError?: (error: Error) => void
  name?: string
  signAudit?: SignRow
  /** Called before each statement; the returned function is called at its end. */
  watchStatement?: (text: string) => ((error?: unknown) => void) | undefined
  /** Default: the same server, as `tenure_reader` without a password. */
  readerUrl?: string
  /** The path of the file that names other sources. Default: queries read no other source. */
  metricSources?: string
}

/** A role that can read only what was granted to it. */
export const readerRole = 'tenure_reader'

/** A server that requires a password rejects this URL, so an external query never runs as the application role. */
function defaultReaderUrl(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const reader = new URL(url)
  reader.username = reader.password = ''
  // Also works for an address without a host, which cannot hold a user name.
  reader.searchParams.set('user', readerRole)
  reader.searchParams.delete('password')
  return reader.toString()
}

// bigint columns here are counters and generations far below 2^53.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => Number(text))

/** Opens a pool; nothing is sent before the first query. */
export function openStore(url: string, options: StoreOptions = {}): Store {
  const { signAudit, watchStatement: watch } = options
  const onError = options.onError ?? (() => {})
  const queryMs = options.queryMs ?? 10_000
  const connectMs = options.connectMs ?? 2_000
  const connection: pg.ClientConfig = {
    ...withIsoDates(url),
    connectionTimeoutMillis: Math.max(connectMs, openMs),
    query_timeout: queryMs + graceMs,
    statement_timeout: queryMs,
    keepAlive: true,
    application_name: options.name ?? 'tenure',
  }
  const pool = new pg.Pool({ ...connection, max: options.max ?? 8, idleTimeoutMillis: maxIdleMs })
  pool.on('error', onError)
  const outages = createOutageTracker()
  const saw = (error: unknown): void => {
    if (isReadOnly(error) || isOutage(error)) outages.saw(error)
  }
  /** Waiting for a connection counts towards the time limit: the first statement gets the remaining time. */
  const connect = async () => {
    const untilMs = performance.now() + queryMs
    const client = await connectedWithin(connectMs, pool.connect()).catch((error: unknown) => {
      saw(error)
      return unavailable(error)
    })
    return { client, leftMs: () => Math.max(1, Math.round(untilMs - performance.now())) }
  }
  // A borrowed connection has no other error listener, and an unhandled error would end the process.
  pool.on('connect', (client) => client.on('error', onError))
  const transactionOf =
    (begin: Sql, signAudit: SignRow | undefined, meaning: (error: unknown) => never): Store['transaction'] =>
    async (work, { statementMs: withinMs } = {}) => {
      const { client, leftMs } = await connect()
      let broken: Error | undefined
      const limitMs = withinMs ?? queryMs
      try {
        await run(client, begin, { saw, watch, limitMs: queryMs, withinMs: leftMs() })
        if (withinMs !== undefined) await run(client, limitOf(withinMs), { saw, limitMs })
        const result = await work({
          query: (statement) =>
            run(client, statement, { saw, watch, limitMs, withinMs }).catch(meaning) as never,
          signAudit,
        })
        await run(client, commit, { saw, limitMs })
        return result
      } catch (error) {
        // A connection that did not respond is closed: a rollback would only wait again.
        if (isBroken(error)) broken = error
        else await client.query('rollback').catch((failure: Error) => (broken = failure))
        throw error
      } finally {
        client.release(broken)
      }
    }
  async function runAlone<T extends object>(statement: Sql, scope?: Scope): Rows<T> {
    const { client, leftMs } = await connect()
    const runNamed = () =>
      run<T>(client, statement, { saw, watch, limitMs: queryMs, withinMs: leftMs(), scope })
    let broken: Error | undefined
    try {
      return await runNamed().catch((error: unknown) => {
        if (preparedName(statement) === undefined || !isOutdatedPlan(error)) throw error
        named(statement)
        return runNamed()
      })
    } catch (error) {
      if (isBroken(error)) broken = error
      throw error
    } finally {
      client.release(broken)
    }
  }
  const idleMs = options.idleMs ?? 10_000
  const store: Store = {
    pool,
    saw,
    signAudit,
    readerUrl: options.readerUrl ?? defaultReaderUrl(url),
    metricSources: options.metricSources,
    leases: createObservedLeases(),
    outage: outages.outage,
    query: (statement) => runAlone(statement),
    transaction: transactionOf(beginOf(idleMs), signAudit, (error) => {
      throw error
    }),
    scoped(scope) {
      const meaning = (error: unknown): never => {
        throw isDenied(error) ? outsideOf(scope, error) : error
      }
      return {
        ...store,
        query: (statement) => runAlone(statement, scope).catch(meaning) as never,
        transaction: transactionOf(beginOf(idleMs, scope), signAudit, meaning),
        pool: noPool,
        readerUrl: undefined,
        metricSources: undefined,
      }
    },
    listen: (channel, onNotice) => listen(connection, channel, onNotice, onError),
    close: () => pool.end(),
  }
  return store
}

/** A connection that is lent would not be in the role of the key. */
const lendNone = (): never => {
  throw new DomainError('internal', 'the store of a key of some models lends no connections')
}
const noPool = { connect: lendNone, query: lendNone } as unknown as pg.Pool

/**
 * How much longer the driver waits than the server: a server that answers ends the statement itself, and says by it that it is only slow.
 */
const graceMs = 100

/** Whether the connection did not respond. After a statement that the server has ended at its limit, it serves the next one. */
const isBroken = (error: unknown): error is DomainError =>
  isError(error, 'postgres_unavailable') && error.context['database'] !== 'slow'

/** A new connection to a distant server takes longer than a query may wait. */
const maxIdleMs = 300_000
/** Several round trips, each of which may take half a second. */
const openMs = 3_000

/** A client that arrives too late returns to its pool. */
async function connectedWithin(ms: number, connecting: Promise<pg.PoolClient>): Promise<pg.PoolClient> {
  let isLate = false
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      isLate = true
      reject(new Error(`timeout: no connection within ${ms} ms`))
    }, ms)
  })
  connecting.then(
    (client) => isLate && client.release(),
    () => {},
  )
  return Promise.race([connecting, late]).finally(() => clearTimeout(timer))
}

/**
 * Without the timeout, a process that stops between two statements, or loses its network, would hold its locks for hours. Set per
 * transaction and not per session, because reading with a cursor may take longer.
 */
const beginOf = (idleMs: number, scope?: Scope) =>
  ({
    text: [
      `begin; set local idle_in_transaction_session_timeout = ${Math.ceil(idleMs)}`,
      ...(scope === undefined ? [] : settingsOf(scope)).map(
        ([name, value]) => `set local ${name} = ${pg.escapeLiteral(value)}`,
      ),
    ].join('; '),
    values: [],
  }) as unknown as Sql

/** The role without other rows. No statement of ours sets a role, so none leaves it before the transaction ends. */
export const scopedRole = 'tenure_scoped'

const settingsOf = ({ id, models }: Scope): [name: string, value: string][] => [
  ['tenure.key', id],
  ['tenure.models', arrayOf([...models])],
  ['role', scopedRole],
]

/**
 * Runs one statement in a scope. The settings are sent before it in the same message and last until its end, so that they take no round trip
 * of their own: without `begin`, statements of the extended protocol are one transaction up to their `Sync`.
 */
function queryInScope<T extends pg.QueryResultRow>(
  client: pg.ClientBase,
  scope: Scope,
  { query_timeout, ...config }: pg.QueryConfig & { query_timeout?: number },
): Promise<pg.QueryResult<T>> {
  return new Promise((resolve, reject) => {
    const query = new pg.Query({ ...config, queryMode: 'extended' } as pg.QueryConfig, (error, results) =>
      error ? reject(error) : resolve((results as unknown as pg.QueryResult<T>[]).at(-1)!),
    )
    const settings = settingsOf(scope)
    // A row without columns, because the driver is not told of any.
    const text = `select from ${settings.map(([name], place) => `set_config('${name}', $${place + 1}, true) as "${name}"`).join(', ')}`
    const { submit } = query
    query.submit = (connection) => {
      connection.stream.cork()
      connection.parse({ name: '', text, types: [] }, true)
      connection.bind({ values: settings.map(([, value]) => value) }, true)
      connection.execute({}, true)
      const issue = submit.call(query, connection)
      connection.stream.uncork()
      return issue
    }
    client.query(Object.assign(query, { query_timeout }))
  })
}

/** As Postgres writes an array of texts. */
const arrayOf = (texts: readonly string[]): string =>
  `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`).join(',')}}`

/** SQLSTATE 42501: a table without rows of models, or a row of another one. */
const isDenied = (error: unknown): boolean => (error as { code?: unknown }).code === '42501'

const outsideOf = ({ name }: Scope, error: unknown): DomainError => {
  const reason = (error as Error).message
  const what = reason.includes('row-level security')
    ? 'this concerns others'
    : 'this needs a key of all models'
  return new DomainError('forbidden', `the key ${name} is limited to some models; ${what}`, { reason })
}
const limitOf = (statementMs: number) =>
  ({ text: `set local statement_timeout = ${statementMs}`, values: [] }) as unknown as Sql
const commit = { text: 'commit', values: [] } as unknown as Sql

interface Running {
  saw: (error: unknown) => void
  watch?: StoreOptions['watchStatement']
  /** The limit of a statement on the server. */
  limitMs: number
  /** How long the driver waits, without its grace. Default: as long as for every query. */
  withinMs?: number
  /** The scope of a statement outside of a transaction. */
  scope?: Scope | undefined
}

async function run<T extends object>(
  on: pg.PoolClient,
  statement: Sql,
  { saw, watch, limitMs, withinMs, scope }: Running,
): Rows<T> {
  const ended = watch?.(statement.text)
  try {
    const query = {
      name: preparedName(statement),
      text: statement.text,
      values: statement.values.map(redactedValue),
      query_timeout: withinMs === undefined ? undefined : withinMs + graceMs,
    }
    const result = await (scope === undefined
      ? on.query<T & pg.QueryResultRow>(query)
      : queryInScope<T & pg.QueryResultRow>(on, scope, query))
    ended?.()
    return result.rows
  } catch (error) {
    ended?.(error)
    if (isOutdatedPlan(error)) renamePlan(statement)
    if (isCancelled(error)) return unavailable(endedByServer(error, limitMs))
    saw(error)
    return rethrowWrite(error)
  }
}

/**
 * The server has ended a statement of the store at its limit, so it answers. Only for an external query does the limit mean that the query is
 * wrong.
 */
const isCancelled = (error: unknown): error is Error =>
  error instanceof Error && (error as { code?: unknown }).code === '57014'

const endedByServer = (error: Error, limitMs: number): Error =>
  Object.assign(new Error(`timeout: a statement took longer than ${limitMs / 1_000} s`, { cause: error }), {
    code: '57014',
  })

/** Redacts secrets that users paste into texts or libraries put into errors. */
function redactedValue(value: unknown): unknown {
  if (typeof value === 'string') return redacted(value)
  return Array.isArray(value) && value.some((each) => typeof each === 'string')
    ? value.map(redactedValue)
    : value
}

/**
 * For direct uses of the pool: an outage becomes `postgres_unavailable`, an unstorable text `invalid_request`; every other error stays
 * unchanged.
 */
export function rethrow(error: unknown): never {
  if (isUnstorable(error))
    throw new DomainError(
      'invalid_request',
      'a text has NUL or an incomplete character, which Postgres cannot store',
    )
  throw isOutage(error) ? unavailable(error) : error
}

/**
 * For writes: a server that refuses them is an outage too. The connection must be closed, because after a failover the next one may reach the
 * new primary.
 */
export const rethrowWrite = (error: unknown): never =>
  isReadOnly(error) ? unavailable(error) : rethrow(error)

/** Runs statements in a connection that the caller has, inside its transaction. */
export const databaseOf = (client: pg.ClientBase): Database => ({
  query: async <T extends object>({ text, values }: Sql) =>
    (await client.query({ text, values }).catch(rethrow)).rows as T[],
})

/** SQLSTATE 22021 and 22P05 report NUL; a lone surrogate is reported as invalid JSON. */
function isUnstorable(error: unknown): boolean {
  const { code, message = '' } = error as { code?: unknown; message?: string }
  return (
    code === '22021' ||
    code === '22P05' ||
    (code === '22P02' && message.includes('input syntax for type json'))
  )
}

/**
 * Connection failures, shutdowns and timeouts, which a retry may solve. SQLSTATE classes 08, 53, 57 and 25P03 (PostgreSQL manual,
 * appendix A).
 */
function isOutage(error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  if (tlsIssueOfPostgres(error) !== undefined) return true
  const code = (error as { code?: unknown }).code
  if (typeof code === 'string' && /^(08|53|57P|25P03)/.test(code)) return true
  if (typeof code === 'string' && /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|ENOENT|EAI_)/.test(code)) return true
  return (
    /timeout|terminat|Connection ended|not queryable/i.test(error.message) &&
    !/^[0-9A-Z]{5}$/.test(String(code ?? ''))
  )
}

function unavailable(error: unknown): never {
  const reason = tlsIssueOfPostgres(error) ?? (error instanceof Error ? error.message : String(error))
  const { kind, what, remedy } = meaningOfOutage(error)
  throw new DomainError('postgres_unavailable', `Postgres ${what}: ${reason}`, { database: kind, remedy })
}

/** How long a server may take to close a connection; a frozen server never closes it. */
const closeTimeoutMs = 500

/**
 * A dedicated connection that reconnects by itself, with a growing pause of 50 ms to 2 s. The pauses have jitter, because all listeners
 * lose their connections at the same time and must not reconnect at the same time.
 */
function listen(
  connection: pg.ClientConfig,
  channel: string,
  onNotice: (payload: string | undefined) => void,
  onError: (error: Error) => void,
): () => Promise<void> {
  let stopped = false
  let client: pg.Client | undefined
  let timer: NodeJS.Timeout | undefined
  let pauseMs = 50
  const again = () => {
    if (stopped || timer) return
    timer = setTimeout(
      () => {
        timer = undefined
        void connect()
      },
      pauseMs * (0.5 + Math.random() / 2),
    )
    pauseMs = Math.min(pauseMs * 2, 2_000)
  }
  const connect = async () => {
    const fresh = new pg.Client(connection)
    client = fresh
    fresh.on('error', (error) => {
      onError(error)
      again()
    })
    fresh.on('end', again)
    fresh.on('notification', (notice) => onNotice(notice.payload))
    try {
      await fresh.connect()
      await fresh.query(`listen ${pg.escapeIdentifier(channel)}`)
      pauseMs = 50
      onNotice(undefined)
    } catch (error) {
      onError(error as Error)
      await fresh.end().catch(() => {})
      again()
    }
  }
  void connect()
  return async () => {
    stopped = true
    clearTimeout(timer)
    const late = new Promise((resolve) => setTimeout(resolve, closeTimeoutMs).unref())
    await Promise.race([client?.end().catch(() => {}), late])
  }
}
