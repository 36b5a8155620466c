/**
 * Connects a machine to the in-memory database: provides the production `Store` over links that may be slow or cut, to a server that may be
 * down. The critical case is a commit whose response is lost: it is committed, but the caller sees a failure.
 */
import type { Sql } from 'sql-template-tag'
import { DomainError, isError } from '../../../domain/errors.ts'
import type { Database, Store } from '../../../store/postgres.ts'
import { createObservedLeases } from '../../../store/serving/observed-leases.ts'
import { carried } from '../temporal/sandbox.ts'
import type { Memory, Row, DatabaseSession } from './database.ts'
import type { Meaning } from './database.ts'
import type { Machine, World } from '../world.ts'

export interface Server {
  machine: Machine
  memory: Memory
  meaningOf: (statement: Sql) => { name: string; meaning: Meaning }
  /** Channel → its listeners. */
  listeners: Set<Listener>
  /** Called with each executed statement. */
  onStatement?: (name: string, values: readonly unknown[], owner: string) => void
  /** Returns how long a statement takes beyond the delay of the link, in milliseconds. */
  lateMs?: (machine: Machine, statement: string, values: readonly unknown[]) => number
  /** Returns why a statement fails here because of an active fault. */
  failureOf?: (name: string, owner: string) => string | undefined
}

interface Listener {
  machine: Machine
  life: number
  channel: string
  hear: (payload: string | undefined) => void
  isConnected: boolean
}

/** Shorter than in production, in proportion to the leases of the simulated policies. */
export const queryMs = 1_500
export const idleInTransactionMs = 3_000
const listenAgainMs = 1_000

type Command = 'begin' | 'commit' | 'rollback' | Sql

export function connect(world: World, server: Server, machine: Machine): Store {
  const unavailable = (why: string) =>
    new DomainError('postgres_unavailable', `Postgres did not answer: ${why}`)

  const call = (session: { of?: DatabaseSession }, command: Command): Promise<Row[]> =>
    new Promise((resolve, reject) => {
      let over = false
      // A statement that waited for a lock is answered in the event of the session that released the lock.
      const { context } = carried
      const finish = (act: () => void) => {
        if (over) return
        over = true
        carried.context = context
        stop()
        act()
      }
      const stop = world.after(machine, queryMs, () => {
        finish(() => reject(unavailable('timeout')))
        world.send(machine, server.machine, () => session.of && server.memory.kill(session.of))
      })
      const { life } = machine
      // A statement may wait for a lock until its process has crashed and restarted.
      const answer = (act: () => void) => {
        world.send(server.machine, machine, () => machine.life === life && finish(act))
      }
      const refuse = (error: Error) => answer(() => reject(error))
      if (!server.machine.isUp) {
        world.after(machine, 1, () => finish(() => reject(unavailable('connection refused'))))
        return
      }
      // The fingerprint is computed once, because the text of a statement is long.
      const known = typeof command === 'string' ? undefined : server.meaningOf(command)
      const arrive = () => {
        if (over) return
        session.of ??= server.memory.open(machine.name)
        if (session.of.dead) return refuse(unavailable('Connection ended'))
        if (command === 'begin') {
          server.memory.begin(session.of)
          return answer(() => resolve([]))
        }
        if (command === 'commit') {
          server.memory.commit(session.of)
          return answer(() => resolve([]))
        }
        if (command === 'rollback') {
          server.memory.rollback(session.of)
          return answer(() => resolve([]))
        }
        const { name, meaning } = known!
        const failure = server.failureOf?.(name, machine.name)
        if (failure !== undefined) return refuse(unavailable(failure))
        server.onStatement?.(name, command.values, machine.name)
        server.memory.execute(
          session.of,
          meaning,
          command.values,
          (rows) => answer(() => resolve(rows)),
          refuse,
        )
      }
      const values = typeof command === 'string' ? [] : command.values
      const lateMs = server.lateMs?.(machine, known?.name ?? (command as string), values) ?? 0
      if (lateMs === 0) world.send(machine, server.machine, arrive)
      else world.after(machine, lateMs, () => world.send(machine, server.machine, arrive))
    })

  const databaseOf = (session: { of?: DatabaseSession }): Database => ({
    query: <T extends object>(statement: Sql) => call(session, statement) as unknown as Promise<T[]>,
  })

  return {
    query: async <T extends object>(statement: Sql) => {
      const session: { of?: DatabaseSession } = {}
      try {
        return (await call(session, statement)) as unknown as T[]
      } finally {
        if (session.of) server.memory.kill(session.of)
      }
    },
    async transaction(work) {
      const session: { of?: DatabaseSession } = {}
      try {
        await call(session, 'begin')
        const result = await work(databaseOf(session))
        await call(session, 'commit')
        return result
      } catch (error) {
        if (!isError(error, 'postgres_unavailable')) await call(session, 'rollback').catch(() => {})
        throw error
      } finally {
        if (session.of && !session.of.tx) server.memory.kill(session.of)
      }
    },
    scoped(): never {
      throw new Error('the keys of the simulation are of all models')
    },
    leases: createObservedLeases(),
    outage: () => undefined,
    saw: () => {},
    listen(channel, hear) {
      const listener: Listener = { machine, life: machine.life, channel, hear, isConnected: false }
      const again = () => {
        const reachable =
          server.machine.isUp &&
          !world.isCut(machine, server.machine) &&
          !world.isCut(server.machine, machine)
        if (!reachable) listener.isConnected = false
        else if (!listener.isConnected) {
          listener.isConnected = true
          hear(undefined)
        }
        world.after(machine, listenAgainMs, again)
      }
      server.listeners.add(listener)
      again()
      return () => {
        server.listeners.delete(listener)
        return Promise.resolve()
      }
    },
    get pool(): never {
      throw new Error('the database in memory has no pool')
    },
    readerUrl: undefined,
    metricSources: undefined,
    close: () => Promise.resolve(),
  }
}

/** Delivers a notification to every reachable listener. */
export function deliverNotice(world: World, server: Server, channel: string, payload: string): void {
  for (const listener of server.listeners) {
    if (listener.machine.life !== listener.life) server.listeners.delete(listener)
    else if (listener.channel === channel && listener.isConnected)
      world.send(server.machine, listener.machine, () => listener.hear(payload))
  }
}

/** Runs the server's own checks: detects crashed clients and ends idle transactions. */
export function endStaleSessions(server: Server, lives: ReadonlyMap<string, Machine>, nowMs: number): void {
  for (const session of server.memory.sessions()) {
    const machine = lives.get(session.owner)
    if (machine && !machine.isUp) server.memory.kill(session)
    else if (session.tx && !session.parked && nowMs - session.activeMs > idleInTransactionMs)
      server.memory.kill(session)
    else if (session.parked && nowMs - session.activeMs > queryMs) {
      const { refuse } = session.parked
      server.memory.kill(session)
      refuse(new DomainError('postgres_unavailable', 'Postgres did not answer: statement timeout'))
    }
  }
}
