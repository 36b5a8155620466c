/** Tests the connection budget, which is reported before a process starts, with its consumers and a remedy. */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  checkConnectionBudget,
  expectRoomFor,
  connectionShortage,
  maxConnectionsOf,
  nameOfProcess,
  poolSizes,
  slowPoolSizes,
} from '../../../store/database/connection-budget.ts'
import type { Store } from '../../../store/postgres.ts'
import { checkout } from '../../../temporal.config.ts'
import { freshDatabase, openPatientStore } from '../../support/servers/servers.ts'

let url: string
let store: Store
let most: number
beforeAll(async () => {
  url = await freshDatabase()
  store = openPatientStore(url, { name: nameOfProcess('api', 'this') })
  const { rows } = await store.pool.query<{ count: number }>(
    `select current_setting('max_connections')::integer as count`,
  )
  most = rows[0]!.count
})
afterAll(() => store.close())

const none = { api: 0, control: 0, train: 0, commands: 0 }

describe('the connection budget of Postgres', () => {
  it('is at most four fifths of its limit', () => {
    const one = maxConnectionsOf('train')
    expect(connectionShortage({ ...none, train: 20 }, (20 * one) / 0.8)).toBeUndefined()
    expect(connectionShortage({ ...none, train: 20 }, (20 * one) / 0.8 - 1)).toMatchObject({
      code: 'configuration_invalid',
      message:
        'the processes may open 80 connections to Postgres (API processes 0 × 11, control workers 0 × 19, training workers 20 × 4, ' +
        'commands 0 × 6), and 80 % of its max_connections of 99 are 79; start fewer processes, or set max_connections to 100 and restart Postgres',
      context: { sum: 80, most: 99, room: 79 },
    })
  })

  it('suffices on the embedded server for six replicas', () => {
    expect(connectionShortage({ api: 6, control: 1, train: 1, commands: 1 }, 120)).toBeUndefined()
  })

  it('is read from the server', async () => {
    const api = Math.ceil(most / maxConnectionsOf('api'))
    await expect(checkConnectionBudget(store, { ...none, api })).rejects.toMatchObject({ context: { most } })
    await checkConnectionBudget(store, { ...none, api: 1 })
  })

  it('is checked by each process that starts, in addition to connected processes', async () => {
    await expectRoomFor(store, 'api')
    const there = Math.ceil((most * 0.8) / maxConnectionsOf('api'))
    const others = Array.from(
      { length: there },
      (_, place) =>
        new pg.Client({ connectionString: url, application_name: nameOfProcess('api', `other${place}`) }),
    )
    try {
      await Promise.all(others.map((client) => client.connect()))
      // Its own connections count as those of one process, whatever their number.
      const own = await Promise.all([store.pool.connect(), store.pool.connect()])
      own.forEach((client) => client.release())
      await expect(expectRoomFor(store, 'api')).rejects.toMatchObject({
        code: 'configuration_invalid',
        message: expect.stringContaining(`API processes ${there + 1} × 11, control workers 1 × 19`) as string,
      })
    } finally {
      await Promise.all(others.map((client) => client.end()))
    }
  })
})

it('every listener of a process is counted', () => {
  const filesIn = (directory: string): string[] =>
    readdirSync(join(checkout, directory), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
  const listeners = (directory: string) =>
    filesIn(directory).flatMap((file) => readFileSync(file, 'utf8').match(/\bstore\.listen\(/g) ?? []).length
  // Listeners of store/ run in every process that keeps the audit heads: replicas and control workers.
  expect(maxConnectionsOf('api') - poolSizes.api).toBe(listeners('api') + listeners('store'))
  expect(maxConnectionsOf('control') - poolSizes.control).toBe(
    listeners('activities') + listeners('store') + slowPoolSizes.erase + slowPoolSizes.monitor,
  )
})
