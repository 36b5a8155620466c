import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { commandProblemOf, createClient } from '../../../cli/client/client.ts'
import {
  connectToApi,
  coreAddresses,
  findConnection,
  replaceStoredKey,
  temporalAddressOption,
  writeConnection,
} from '../../../cli/client/connection.ts'
import { choosePort, wantedPorts } from '../../../cli/supervisor/ports.ts'
import { readCommandConfig } from '../../../temporal.config.ts'

let dir: string
let servers: Server[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-connection-'))
  servers = []
  vi.stubEnv('TENURE_STATE', dir)
  for (const name of ['TENURE_URL', 'TENURE_KEY', 'DATABASE_URL', 'TEMPORAL_ADDRESS']) vi.stubEnv(name, '')
})
afterEach(() => {
  vi.unstubAllEnvs()
  for (const server of servers) server.close()
  rmSync(dir, { recursive: true, force: true })
})

/** Starts a server that responds with the key of the request. */
async function echo(): Promise<{ url: string; port: number }> {
  const server = createServer((request, response) =>
    response.end(JSON.stringify({ authorization: request.headers.authorization ?? null })),
  ).listen(0, '127.0.0.1')
  servers.push(server)
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, port }
}

const written = (url: string) => ({
  pid: 1,
  url,
  key: 'tnr_local',
  databaseUrl: 'postgres://127.0.0.1/tenure',
  temporalAddress: '127.0.0.1:7233',
})

describe('the connection of a command', () => {
  it('is the one that `tenure up` stored, with its key, readable by its owner only', async () => {
    const { url } = await echo()
    writeConnection(dir, written(url))
    expect(statSync(join(dir, 'connection.json')).mode & 0o777).toBe(0o600)
    expect(await connectToApi().get('/')).toEqual({ authorization: 'Bearer tnr_local' })
    expect(coreAddresses(readCommandConfig())).toEqual({
      databaseUrl: 'postgres://127.0.0.1/tenure',
      temporalAddress: '127.0.0.1:7233',
    })
  })

  it('has the new secret when its own key is rotated', () => {
    const found = { ...written('http://127.0.0.1:9'), key: 'tnr_0123456789ab_old' }
    expect(replaceStoredKey('0123456789ab', 'tnr_0123456789ab_new')).toBe(false)
    writeConnection(dir, found)
    expect(replaceStoredKey('ffffffffffff', 'tnr_ffffffffffff_new')).toBe(false)
    expect(findConnection(dir)).toEqual(found)
    expect(replaceStoredKey('0123456789ab', 'tnr_0123456789ab_new')).toBe(true)
    expect(findConnection(dir)).toEqual({ ...found, key: 'tnr_0123456789ab_new' })
  })

  it('tells where Temporal is, for commands of Temporal', () => {
    expect(temporalAddressOption()).toBe('')
    writeConnection(dir, { ...written('http://127.0.0.1:9'), temporalAddress: '127.0.0.1:17233' })
    expect(temporalAddressOption()).toBe(' --address 127.0.0.1:17233')
    vi.stubEnv('TEMPORAL_ADDRESS', 'temporal:7233')
    expect(temporalAddressOption()).toBe(' --address temporal:7233')
  })

  it('names a damaged certificate of this machine, which is no reason to start the API again', async () => {
    const certificate = join(dir, 'api.pem')
    writeFileSync(certificate, 'not a certificate')
    writeConnection(dir, { ...written('https://127.0.0.1:9'), certificate })
    await expect(connectToApi().get('/')).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: expect.stringContaining(
        `${certificate}, by which this machine knows its API, is not a certificate`,
      ),
    })
  })

  it('prefers TENURE_URL and does not send the stored key there', async () => {
    const { url } = await echo()
    writeConnection(dir, written('http://127.0.0.1:9'))
    vi.stubEnv('TENURE_URL', url)
    expect(await connectToApi().get('/')).toEqual({ authorization: null })
    vi.stubEnv('TENURE_KEY', 'tnr_given')
    expect(await connectToApi().get('/')).toEqual({ authorization: 'Bearer tnr_given' })
  })

  it('to another machine needs no state directory and creates none', async () => {
    const { url } = await echo()
    vi.stubEnv('TENURE_URL', url)
    const file = join(dir, 'file')
    writeFileSync(file, '')
    // Below a file nothing can be created.
    for (const stateDir of [join(dir, 'absent'), join(file, 'below')]) {
      vi.stubEnv('TENURE_STATE', stateDir)
      expect(await connectToApi().get('/')).toEqual({ authorization: null })
      expect(existsSync(stateDir)).toBe(false)
    }
  })

  it('fails with a remedy if nothing was ever started', () => {
    const failed = (work: () => unknown) => {
      try {
        return work()
      } catch (error) {
        return commandProblemOf(error)
      }
    }
    for (const work of [connectToApi, () => coreAddresses(readCommandConfig())]) {
      expect(failed(work)).toMatchObject({
        code: 'unreachable',
        remedy: expect.stringContaining('tenure up'),
      })
    }
    expect(findConnection(dir)).toBeUndefined()
  })
})

describe('port selection', () => {
  const wanted = (port: number) => ({ what: 'the API', port, variable: 'TENURE_PORT' })

  it('keeps a free port without a message', async () => {
    const { port } = await echo()
    await new Promise((resolve) => servers[0]?.close(resolve))
    const said: string[] = []
    expect(await choosePort(wanted(port), (line) => said.push(line))).toBe(port)
    expect(said).toEqual([])
  })

  it('replaces a port in use and reports the new port and its variable', async () => {
    const { port } = await echo()
    const said: string[] = []
    const chosen = await choosePort(wanted(port), (line) => said.push(line))
    expect(chosen).not.toBe(port)
    expect(said).toEqual([
      `Port ${port} is in use; the API listens on ${chosen} (set TENURE_PORT to change it)`,
    ])
  })

  it('refuses one port for two processes, and names both and their variables', () => {
    const wantedWith = (changes: Record<string, string>, replicas: number) =>
      wantedPorts(readCommandConfig({ TENURE_PORT: '7400', ...changes }), replicas)
    const afterFirst = { TENURE_POSTGRES_PORT: '7401' }
    expect(() => wantedWith(afterFirst, 2)).toThrow(
      'replica 1 of the API (TENURE_PORT) and Postgres (TENURE_POSTGRES_PORT) want the port 7401: set one of the two variables to another port',
    )
    const pages = { TENURE_TEMPORAL_UI_PORT: '7233' }
    expect(() => wantedWith(pages, 1)).toThrow(
      "Temporal (TENURE_TEMPORAL_PORT) and Temporal's pages (TENURE_TEMPORAL_UI_PORT) want the port 7233",
    )
    expect(() => wantedWith({ TENURE_GRPC_PORT: '7401' }, 2)).toThrow(
      'replica 1 of the API (TENURE_PORT) and gRPC of replica 1 (TENURE_GRPC_PORT) want the port 7401',
    )
    // One replica has no separate port, disabled pages and external servers have none either, and 0 is any port.
    const elsewhere = { ...afterFirst, DATABASE_URL: 'postgres://h/d' }
    const anyPort = { TENURE_PORT: '0', TENURE_POSTGRES_PORT: '0', TENURE_TEMPORAL_PORT: '0' }
    for (const [changes, replicas] of [
      [{}, 16],
      [afterFirst, 1],
      [elsewhere, 2],
      [{ ...pages, TENURE_TEMPORAL_UI_PORT: '' }, 1],
      [anyPort, 3],
    ] as const)
      expect(() => wantedWith(changes, replicas)).not.toThrow()
  })
})

it('a server that accepts and does not respond is not reported as stopped', async () => {
  const reachedMs = 50
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const client = createClient({ url: `http://127.0.0.1:${port}`, timeoutMs: reachedMs })
  const { detail, remedy } = commandProblemOf(
    await client.get('/v1/models').catch((error: unknown) => error),
  )!
  expect(detail).toMatch(/^no response to GET .*\/v1\/models within 0.05 s/)
  expect(remedy).toContain('tenure doctor')
  silent.closeAllConnections()
  silent.close()
})
