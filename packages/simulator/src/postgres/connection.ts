/**
 * Connects a machine to the database in memory, over links that may be slow or cut, to a server that may be down. The critical case is a
 * commit whose response is lost: it is committed, but the caller sees a failure.
 */
import { carried } from '../carried.ts'
import type { Machine, World } from '../world.ts'
import type { DatabaseSession, Meaning, Memory, Row } from './database.ts'

/** A statement as the drivers take it. */
export interface Statement {
  text: string
  values: readonly unknown[]
}

export interface Server {
  machine: Machine
  memory: Memory
  meaningOf: (statement: Statement) => { name: string; meaning: Meaning }
  /** Channel → its listeners. */
  listeners: Set<Listener>
  /** Called with each executed statement. */
  onStatement?: (name: string, values: readonly unknown[], owner: string) => void
  /** Returns how long a statement takes beyond the delay of the link, in milliseconds. */
  lateMs?: (machine: Machine, statement: string, values: readonly unknown[]) => number
  /** Returns why a statement fails here because of an active fault. */
  failureOf?: (name: string, owner: string) => string | undefined
  /** Creates the error of a caller that gets no answer, and recognises it. Default: an error with the code 08006. */
  unavailable?: (why: string) => Error
  isUnavailable?: (error: unknown) => boolean
}

/** What a machine holds of the database. */
export interface Connection {
  query<T extends object>(statement: Statement): Promise<T[]>
  /** Commits what `work` has done, or rolls it back when `work` throws. */
  transaction<T>(work: (within: Pick<Connection, 'query'>) => Promise<T>): Promise<T>
  /** Hears the notices of a channel, and undefined whenever some may have been missed. Returns what ends it. */
  listen(channel: string, hear: (payload: string | undefined) => void): () => Promise<void>
}

interface Listener {
  machine: Machine
  life: number
  channel: string
  hear: (payload: string | undefined) => void
  isConnected: boolean
}

/** When a statement and an idle transaction end, in milliseconds. */
const queryMs = 1_500
const idleInTransactionMs = 3_000
const listenAgainMs = 1_000

type Command = 'begin' | 'commit' | 'rollback' | Statement

const lostConnection = '08006'
const unavailableOf = ({ unavailable }: Server, why: string): Error =>
  unavailable?.(why) ?? Object.assign(new Error(`Postgres did not answer: ${why}`), { code: lostConnection })
const isUnavailableTo = ({ isUnavailable }: Server, error: unknown): boolean =>
  isUnavailable?.(error) ?? (error as { code?: unknown } | undefined)?.code === lostConnection

export function connect(world: World, server: Server, machine: Machine): Connection {
  const unavailable = (why: string) => unavailableOf(server, why)

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

  const within = (session: { of?: DatabaseSession }): Pick<Connection, 'query'> => ({
    query: <T extends object>(statement: Statement) => call(session, statement) as unknown as Promise<T[]>,
  })

  return {
    async query<T extends object>(statement: Statement) {
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
        const result = await work(within(session))
        await call(session, 'commit')
        return result
      } catch (error) {
        if (!isUnavailableTo(server, error)) await call(session, 'rollback').catch(() => {})
        throw error
      } finally {
        if (session.of && !session.of.tx) server.memory.kill(session.of)
      }
    },
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
      refuse(unavailableOf(server, 'statement timeout'))
    }
  }
}
