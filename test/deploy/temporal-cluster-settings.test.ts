import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { serverConfigOf } from '../../deploy/temporal-cluster/server-config.ts'
import { readClusterSettings } from '../../deploy/temporal-cluster/settings.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-cluster-settings-'))
afterAll(() => rmSync(directory, { recursive: true }))
const file = join(directory, 'cluster.json')
const good = {
  database: 'postgres://temporal:a%2Fb@db.example.com',
  historyShards: 128,
  serverName: 'temporal.example.com',
  ca: 'ca.pem',
  certificate: 'temporal.pem',
  key: 'temporal.key',
}
for (const name of ['ca.pem', 'temporal.pem', 'temporal.key']) writeFileSync(join(directory, name), name)
const read = (changes: object) => {
  writeFileSync(file, JSON.stringify({ ...good, ...changes }))
  return readClusterSettings(file)
}

it('settings of a cluster name files beside them', () => {
  expect(read({})).toEqual({
    ...good,
    ca: join(directory, 'ca.pem'),
    certificate: join(directory, 'temporal.pem'),
    key: join(directory, 'temporal.key'),
  })
})

it('wrong settings of a cluster are told together', () => {
  expect(() =>
    read({ database: 'mysql://db/temporal', historyShards: 0, serverName: undefined, key: 'absent.key' }),
  ).toThrow(
    /cluster\.json: database is an address such as .*; historyShards is a whole number .*; serverName is missing; key: .*absent\.key/,
  )
  writeFileSync(file, '{')
  expect(() => readClusterSettings(file)).toThrow(/cluster\.json: .*JSON/)
  writeFileSync(file, '7')
  expect(() => readClusterSettings(file)).toThrow(/it holds no object/)
})

it('every connection of a process asks for a certificate, and its database is checked as the address says', () => {
  const process = { address: '10.0.0.5', port: 7237 }
  const configOf = (changes: object) => serverConfigOf(process, read(changes), 'dynamic.yaml')
  const { global, services, persistence } = configOf({})
  for (const { server, client } of [global.tls.internode, global.tls.frontend])
    expect({ server, client }).toMatchObject({
      server: { requireClientAuth: true, clientCaFiles: [join(directory, 'ca.pem')] },
      client: { serverName: 'temporal.example.com', rootCaFiles: [join(directory, 'ca.pem')] },
    })
  expect(Object.keys(services)).toEqual(['frontend', 'history', 'matching', 'worker'])
  expect(services['history']).toEqual({ rpc: { grpcPort: 7237, membershipPort: 7238, bindOnIP: '10.0.0.5' } })
  expect(persistence.datastores.default.sql).toMatchObject({
    connectAddr: 'db.example.com:5432',
    databaseName: 'temporal',
    password: 'a/b',
  })
  expect(persistence.datastores.default.sql).not.toHaveProperty('tls')
  const checked = configOf({ database: `${good.database}:5433?sslmode=verify-full&sslrootcert=/pg.pem` })
  expect(checked.persistence.datastores.visibility.sql).toMatchObject({
    connectAddr: 'db.example.com:5433',
    databaseName: 'temporal_visibility',
    tls: { enabled: true, caFile: '/pg.pem', enableHostVerification: true, serverName: 'db.example.com' },
  })
  const plain = configOf({ database: `${good.database}?sslmode=disable` })
  expect(plain.persistence.datastores.default.sql).not.toHaveProperty('tls')
})
