/** Tests the database in memory: what other sessions see, how locks make them wait, and what a lost answer leaves. */
import { describe, expect, it } from 'vitest'
import { connect, deliverNotice, endStaleSessions, type Server } from '../src/postgres/connection.ts'
import { createMemory, type Meaning, type Row } from '../src/postgres/database.ts'
import { createWorld } from '../src/world.ts'

const add: Meaning = (query, [id, amount]) => {
  query.lock('accounts', id as string)
  const sum = Number(query.find('accounts', id as string)?.['sum'] ?? 0) + Number(amount)
  query.put('accounts', id as string, { sum })
  query.notify('accounts', id as string)
  return [{ sum }]
}
const read: Meaning = (query, [id]) => {
  const row = query.find('accounts', id as string)
  return row === undefined ? [] : [row]
}

describe('sessions', () => {
  const opened = () => {
    const memory = createMemory({ clockMs: () => 0 })
    const told: string[] = []
    const ask = (session: ReturnType<typeof memory.open>, meaning: Meaning, ...values: unknown[]) => {
      const answer = (rows: Row[]) => told.push(`${session.owner}: ${JSON.stringify(rows)}`)
      memory.execute(session, meaning, values, answer, (error) =>
        told.push(`${session.owner}: ${error.message}`),
      )
    }
    return { memory, told, ask, a: memory.open('a'), b: memory.open('b') }
  }

  it('see the rows of others after the commit, and wait for the rows that others have locked', () => {
    const { memory, told, ask, a, b } = opened()
    memory.begin(a)
    ask(a, add, 'x', 3)
    ask(b, read, 'x')
    ask(b, add, 'x', 4)
    expect(told).toEqual(['a: [{"sum":3}]', 'b: []'])
    memory.commit(a)
    expect(told.slice(2)).toEqual(['b: [{"sum":7}]'])
    expect(memory.row('accounts', 'x')).toEqual({ sum: 7 })
  })

  it('leave nothing behind when they end within a transaction', () => {
    const { memory, told, ask, a, b } = opened()
    memory.begin(a)
    ask(a, add, 'x', 3)
    ask(b, add, 'x', 4)
    memory.kill(a)
    expect(told).toEqual(['a: [{"sum":3}]', 'b: [{"sum":4}]'])
  })

  it('that wait for each other are told of the deadlock', () => {
    const { memory, told, ask, a, b } = opened()
    for (const session of [a, b]) memory.begin(session)
    ask(a, add, 'x', 1)
    ask(b, add, 'y', 1)
    ask(a, add, 'y', 1)
    ask(b, add, 'x', 1)
    expect(told).toContain('b: deadlock detected')
    expect(told).toContain('a: [{"sum":1}]')
  })

  it('find the rows of a backup after it is restored', () => {
    const { memory, ask, a } = opened()
    ask(a, add, 'x', 1)
    const restore = memory.backup()
    ask(a, add, 'x', 1)
    restore()
    expect(memory.row('accounts', 'x')).toEqual({ sum: 1 })
  })
})

describe('a machine', () => {
  function connected() {
    const world = createWorld(2)
    const machine = world.machine('api')
    const server: Server = {
      machine: world.machine('database'),
      memory: createMemory({
        clockMs: world.now,
        onNotice: (channel, payload) => deliverNotice(world, server, channel, payload),
      }),
      listeners: new Set(),
      meaningOf: ({ text }) => ({ name: text, meaning: text === 'add' ? add : read }),
    }
    const database = connect(world, server, machine)
    const run = (untilMs: number) =>
      world.run(
        untilMs,
        () => {},
        () => false,
      )
    return { world, machine, server, database, run }
  }

  it('commits a transaction, and hears its notice', async () => {
    const { database, server, run } = connected()
    const heard: (string | undefined)[] = []
    void database.listen('accounts', (payload) => heard.push(payload))
    const sums = database.transaction(async (within) => {
      await within.query({ text: 'add', values: ['x', 1] })
      return within.query({ text: 'add', values: ['x', 2] })
    })
    await run(1_000)
    expect(await sums).toEqual([{ sum: 3 }])
    expect(server.memory.row('accounts', 'x')).toEqual({ sum: 3 })
    expect(heard).toEqual([undefined, 'x'])
  })

  it('that gets no answer does not know whether its statement was executed', async () => {
    const { world, database, server, run } = connected()
    world.cut('database', 'api', true)
    const failed = expect(database.query({ text: 'add', values: ['x', 1] })).rejects.toMatchObject({
      code: '08006',
      message: 'Postgres did not answer: timeout',
    })
    await run(10_000)
    await failed
    expect(server.memory.row('accounts', 'x')).toEqual({ sum: 1 })
  })

  it('that has crashed loses its locks when the server looks', async () => {
    const { world, machine, database, server, run } = connected()
    database
      .transaction(async (within) => {
        await within.query({ text: 'add', values: ['x', 1] })
        return new Promise(() => {})
      })
      .catch(() => {})
    await run(100)
    world.crash(machine)
    const other = connect(world, server, world.machine('other'))
    const sum = other.query({ text: 'add', values: ['x', 5] })
    await run(200)
    endStaleSessions(server, new Map([['api', machine]]), world.now())
    await run(400)
    expect(await sum).toEqual([{ sum: 5 }])
  })
})
