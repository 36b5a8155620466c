/**
 * Implements parts of Postgres in memory: rows that others see after commit, row locks that make writers wait, statements that read again
 * after waiting (read committed), and backups. It contains no SQL: the meaning of a statement is a function.
 */

export type Row = Readonly<Record<string, unknown>>

/** Thrown when a statement must wait for this lock; the statement is then executed again. */
interface Blocked extends Error {
  lock: string
}

/** The data and operations available to a statement. */
export interface Query {
  /** clock_timestamp() in milliseconds; microseconds are decimals. */
  clockMs: number
  /** now(), which is constant within a transaction. */
  nowMs: number
  find(table: string, key: string): Row | undefined
  all(table: string): Row[]
  /** Locks the row until the transaction ends. */
  lock(table: string, key: string): void
  put(table: string, key: string, row: Row): void
  remove(table: string, key: string): void
  notify(channel: string, payload: string): void
  /** Returns the next number of an identity column; numbers are never reused. */
  number(table: string): number
}

export type Meaning = (query: Query, values: readonly unknown[]) => Row[]

export interface DatabaseSession {
  id: number
  owner: string
  tx?: Transaction
  /** The transaction of a statement that runs alone. */
  single?: Transaction
  dead: boolean
  parked?: { lock: string; again: () => void; refuse: (error: Error) => void }
  /** The time of its last activity, to detect abandoned sessions. */
  activeMs: number
}

interface Transaction {
  rows: Map<string, Map<string, Row | null>>
  locks: Set<string>
  notices: [channel: string, payload: string][]
  nowMs: number
  failed: boolean
}

export interface Change {
  table: string
  key: string
  before: Row | undefined
  after: Row | undefined
}

export interface Memory {
  open(owner: string): DatabaseSession
  /** Executes a statement, now or when its locks are free. */
  execute(
    session: DatabaseSession,
    meaning: Meaning,
    values: readonly unknown[],
    done: (rows: Row[]) => void,
    refuse: (error: Error) => void,
  ): void
  begin(session: DatabaseSession): void
  /** Returns false when the transaction could not commit. */
  commit(session: DatabaseSession): boolean
  rollback(session: DatabaseSession): void
  /** Ends a session like a lost connection. */
  kill(session: DatabaseSession): void
  sessions(): DatabaseSession[]
  /** Returns all committed rows. */
  rows(table: string): Row[]
  row(table: string, key: string): Row | undefined
  backup(): () => void
  load(table: string, key: string, row: Row): void
}

export interface MemoryOptions {
  clockMs: () => number
  onCommit?: (changes: Change[], owner: string) => void
  onNotice?: (channel: string, payload: string) => void
}

const failure = (code: string, message: string): Error => Object.assign(new Error(message), { code })

export function createMemory({ clockMs, onCommit, onNotice }: MemoryOptions): Memory {
  let tables = new Map<string, Map<string, Row>>()
  const sessions = new Map<number, DatabaseSession>()
  const owners = new Map<string, DatabaseSession>()
  const queues = new Map<string, DatabaseSession[]>()
  const numbers = new Map<string, number>()
  let nextSession = 1
  const micro = (): number => Math.round(clockMs() * 1_000) / 1_000
  const tableOf = (name: string): Map<string, Row> => {
    let table = tables.get(name)
    if (table === undefined) tables.set(name, (table = new Map()))
    return table
  }
  const fresh = (): Transaction => ({
    rows: new Map(),
    locks: new Set(),
    notices: [],
    nowMs: micro(),
    failed: false,
  })
  const queryOf = (session: DatabaseSession, tx: Transaction): Query => ({
    clockMs: micro(),
    nowMs: tx.nowMs,
    find(table, key) {
      const own = tx.rows.get(table)?.get(key)
      return own === undefined ? tables.get(table)?.get(key) : (own ?? undefined)
    },
    all(table) {
      const own = tx.rows.get(table)
      const committed = tables.get(table)
      if (own === undefined) return committed === undefined ? [] : [...committed.values()]
      return [...new Map<string, Row | null>([...(committed ?? []), ...own]).values()].filter(
        (row) => row !== null,
      )
    },
    lock(table, key) {
      const lock = `${table} ${key}`
      const owner = owners.get(lock)
      if (owner === undefined) {
        owners.set(lock, session)
        tx.locks.add(lock)
      } else if (owner !== session) throw Object.assign(new Error(`${lock} is locked`), { lock })
    },
    put(table, key, row) {
      let own = tx.rows.get(table)
      if (own === undefined) tx.rows.set(table, (own = new Map()))
      own.set(key, row)
    },
    remove(table, key) {
      let own = tx.rows.get(table)
      if (own === undefined) tx.rows.set(table, (own = new Map()))
      own.set(key, null)
    },
    notify: (channel, payload) => void tx.notices.push([channel, payload]),
    number(table) {
      const next = (numbers.get(table) ?? 0) + 1
      numbers.set(table, next)
      return next
    },
  })
  const waitsFor = (session: DatabaseSession, lock: string): boolean => {
    for (let at = owners.get(lock); at !== undefined;) {
      if (at === session) return true
      at = at.parked === undefined ? undefined : owners.get(at.parked.lock)
    }
    return false
  }
  /** Releases the locks and resumes the statements that waited for them. */
  const release = (tx: Transaction): void => {
    const woken: DatabaseSession[] = []
    for (const lock of tx.locks) {
      owners.delete(lock)
      woken.push(...(queues.get(lock) ?? []))
      queues.delete(lock)
    }
    tx.locks.clear()
    for (const each of woken) {
      const { parked } = each
      delete each.parked
      if (!each.dead) parked?.again()
    }
  }
  const apply = (session: DatabaseSession, tx: Transaction): void => {
    const changes: Change[] = []
    for (const [table, rows] of tx.rows)
      for (const [key, row] of rows) {
        const committed = tableOf(table)
        const before = committed.get(key)
        if (row === null) committed.delete(key)
        else committed.set(key, row)
        if (onCommit) changes.push({ table, key, before, after: row ?? undefined })
      }
    if (changes.length > 0) onCommit?.(changes, session.owner)
    // Postgres delivers identical notifications of one transaction once.
    for (const notice of new Set(tx.notices.map((each) => JSON.stringify(each)))) {
      const [channel, payload] = JSON.parse(notice) as [string, string]
      onNotice?.(channel, payload)
    }
    release(tx)
  }
  const memory: Memory = {
    open(owner) {
      const session: DatabaseSession = { id: nextSession++, owner, dead: false, activeMs: clockMs() }
      sessions.set(session.id, session)
      return session
    },
    execute(session, meaning, values, done, refuse) {
      const own = session.tx
      if (own?.failed === true)
        return refuse(failure('25P02', 'current transaction is aborted, commands ignored until end'))
      session.activeMs = clockMs()
      const tx = own ?? fresh()
      if (own === undefined) session.single = tx
      const attempt = (): void => {
        if (session.dead) return
        const before = new Map([...tx.rows].map(([table, rows]) => [table, new Map(rows)]))
        const notices = tx.notices.length
        try {
          const rows = meaning(queryOf(session, tx), values)
          if (own === undefined) apply(session, tx)
          session.activeMs = clockMs()
          done(rows)
        } catch (error) {
          tx.rows = before
          tx.notices.length = notices
          const { lock } = error as Partial<Blocked>
          if (lock === undefined) {
            if (own) own.failed = true
            else release(tx)
            return refuse(error as Error)
          }
          if (waitsFor(session, lock)) {
            if (own) {
              own.failed = true
              release(own)
            } else release(tx)
            return refuse(failure('40P01', 'deadlock detected'))
          }
          session.parked = { lock, again: attempt, refuse }
          const queue = queues.get(lock)
          if (queue) queue.push(session)
          else queues.set(lock, [session])
        }
      }
      attempt()
    },
    begin(session) {
      session.tx = fresh()
      session.activeMs = clockMs()
    },
    commit(session) {
      const { tx } = session
      delete session.tx
      if (tx === undefined || tx.failed) {
        if (tx) release(tx)
        return false
      }
      apply(session, tx)
      return true
    },
    rollback(session) {
      const { tx } = session
      delete session.tx
      if (tx) release(tx)
    },
    kill(session) {
      if (session.dead) return
      session.dead = true
      sessions.delete(session.id)
      const { parked } = session
      if (parked) {
        delete session.parked
        queues.set(parked.lock, queues.get(parked.lock)?.filter((each) => each !== session) ?? [])
      }
      if (session.single) release(session.single)
      memory.rollback(session)
    },
    sessions: () => [...sessions.values()],
    rows: (table) => [...(tables.get(table)?.values() ?? [])],
    row: (table, key) => tables.get(table)?.get(key),
    backup() {
      const kept = new Map([...tables].map(([name, rows]) => [name, new Map(rows)]))
      return () => {
        tables = new Map([...kept].map(([name, rows]) => [name, new Map(rows)]))
      }
    },
    load: (table, key, row) => void tableOf(table).set(key, row),
  }
  return memory
}
