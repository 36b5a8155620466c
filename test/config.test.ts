import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { reservedForCodeMb, withMemoryLimit } from '@tenure/predictors/memory-limit'
import { namesRead } from '../cli/unknown-variables.ts'
import { secretNames } from '../store/secret-files.ts'
import {
  cacheDir,
  environmentWith,
  plainTextIssue,
  processEnvironment,
  readCommandConfig,
  readConfig,
  systemEnvironment,
} from '../temporal.config.ts'

const good = { DATABASE_URL: 'postgres://127.0.0.1/tenure', HOME: '/nowhere' }

describe('the configuration', () => {
  it('has defaults for all but the database', () => {
    const config = readConfig(good)
    expect(config.temporal).toMatchObject({ address: '127.0.0.1:7233', namespace: 'default' })
    expect(config.api).toMatchObject({ host: '127.0.0.1', port: 7400, publicPredictions: false })
  })

  it('takes an empty or blank variable for an absent one, whatever its kind', () => {
    const given = { ...good, TENURE_BUILD_ID: 'b' }
    const names = [...namesRead(given)].filter((name) => !(name in given) && !name.startsWith('TEMPORAL_'))
    expect(names).toEqual(
      expect.arrayContaining(['TENURE_REPLICA', 'TENURE_BACKUP_KEEP', 'TENURE_OIDC_SCOPE']),
    )
    for (const text of ['', ' ']) {
      const blank = { ...Object.fromEntries(names.map((name) => [name, text])), ...given }
      expect(readConfig(blank)).toEqual(readConfig(given))
      expect(readCommandConfig(blank)).toEqual(readCommandConfig(given))
      expect(cacheDir(blank)).toBe(cacheDir(given))
    }
    expect(readConfig({ ...good, TENURE_BUILD_ID: '' }).buildId).not.toBe('')
  })

  it('warns about a host without TLS, unless a proxy with TLS is known', () => {
    const issueAt = (more: object) => plainTextIssue(readConfig({ ...good, ...more }))
    for (const host of ['127.0.0.1', 'localhost', '::1'])
      expect(issueAt({ TENURE_HOST: host })).toBeUndefined()
    for (const host of ['0.0.0.0', '::', '10.0.0.7'])
      expect(issueAt({ TENURE_HOST: host })).toBe(
        `TENURE_HOST is ${host}, and the API speaks plain HTTP: other machines send keys and rows unencrypted unless a proxy with TLS stands before it. Let only that proxy reach the port`,
      )
    const oidc = {
      TENURE_OIDC_ISSUER: 'https://id.example',
      TENURE_OIDC_CLIENT_ID: 'tenure',
      TENURE_OIDC_REDIRECT: 'https://tenure.example/sign-in/callback',
      TENURE_OIDC_ROLES: 'staff=viewer',
    }
    expect(issueAt({ TENURE_HOST: '0.0.0.0', ...oidc })).toBeUndefined()
  })

  it('gives no secret to a process that does not use it', () => {
    const environment = {
      PATH: '/bin',
      TENURE_KEY: 'k',
      TENURE_OWNER_DATABASE_URL: 'o',
      TENURE_OIDC_CLIENT_SECRET: 'c',
      TENURE_MLFLOW_TOKEN: 'm',
      AWS_SECRET_ACCESS_KEY: 'a',
    }
    const held = (of: Record<string, string | undefined>) =>
      Object.keys(of).filter((name) => of[name] !== undefined)
    expect(held(systemEnvironment(environment))).toEqual(['PATH'])
    expect(held(processEnvironment('api', { TENURE_PORT: '1' }, environment))).toEqual([
      'PATH',
      'TENURE_OIDC_CLIENT_SECRET',
      'AWS_SECRET_ACCESS_KEY',
      'TENURE_PORT',
    ])
    expect(held(processEnvironment('worker', {}, environment))).toEqual([
      'PATH',
      'TENURE_MLFLOW_TOKEN',
      'AWS_SECRET_ACCESS_KEY',
    ])
  })

  it('reads each secret from a file, and refuses two of one', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenure-secrets-'))
    try {
      const payloadKey = `a:${Buffer.alloc(32, 1).toString('base64')}`
      const files = Object.fromEntries(
        secretNames.map((name) => {
          const file = join(folder, name)
          const isUrl = name.endsWith('DATABASE_URL')
          const text = isUrl ? `postgres://${name.toLowerCase()}/tenure` : `${name}-secret`
          writeFileSync(file, `${name === 'TENURE_PAYLOAD_KEYS' ? payloadKey : text}\n`)
          return [`${name}_FILE`, file]
        }),
      )
      const oidc = {
        TENURE_OIDC_ISSUER: 'https://id.example',
        TENURE_OIDC_CLIENT_ID: 'tenure',
        TENURE_OIDC_REDIRECT: 'https://tenure.example/sign-in/callback',
        TENURE_OIDC_ROLES: 'staff=viewer',
      }
      const mirrors = { TENURE_MLFLOW_URL: 'http://mlflow', TENURE_OPENLINEAGE_URL: 'http://lineage' }
      const config = readConfig({ HOME: '/nowhere', ...files, ...oidc, ...mirrors })
      const command = readCommandConfig(files)
      expect([
        config.databaseUrl,
        config.readerUrl,
        command.ownerDatabaseUrl,
        config.temporal.apiKey,
        config.temporal.payloadKeys?.map(({ id }) => id),
        config.oidc?.clientSecret,
        config.mirrors.mlflow?.token,
        config.mirrors.openlineage?.token,
        command.key,
      ]).toEqual([
        'postgres://database_url/tenure',
        'postgres://tenure_reader_database_url/tenure',
        'postgres://tenure_owner_database_url/tenure',
        'TEMPORAL_API_KEY-secret',
        ['a'],
        'TENURE_OIDC_CLIENT_SECRET-secret',
        'TENURE_MLFLOW_TOKEN-secret',
        'TENURE_OPENLINEAGE_TOKEN-secret',
        'TENURE_KEY-secret',
      ])
      expect(() => readConfig({ ...files, DATABASE_URL: 'postgres://127.0.0.1/other' })).toThrow(
        'DATABASE_URL and DATABASE_URL_FILE are both set: keep one of them',
      )
      expect(() => readConfig({ DATABASE_URL_FILE: join(folder, 'absent') })).toThrow(
        /DATABASE_URL_FILE is a file that can be read and is not empty, not ".*absent"/,
      )
      // A process that receives the secret does not receive its file, and no process the secrets of others.
      const child = processEnvironment('worker', { DATABASE_URL: 'postgres://127.0.0.1/embedded' }, files)
      expect(readConfig(child).databaseUrl).toBe('postgres://127.0.0.1/embedded')
      const absent = ['TENURE_KEY_FILE', 'TENURE_OWNER_DATABASE_URL_FILE', 'TENURE_OIDC_CLIENT_SECRET_FILE']
      expect(absent.filter((name) => child[name] !== undefined)).toEqual([])
      expect(child['TENURE_MLFLOW_TOKEN_FILE']).toBeDefined()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('reports all missing and wrong variables together', () => {
    const wrong = { HOME: '/nowhere', TENURE_PORT: 'http', LOG_LEVEL: 'loud', WORKER_VERSIONING: 'maybe' }
    expect(() => readConfig(wrong)).toThrow(
      expect.objectContaining({
        code: 'configuration_invalid',
        context: {
          issues: [
            'DATABASE_URL is missing',
            expect.stringContaining('TENURE_PORT'),
            expect.stringContaining('WORKER_VERSIONING'),
            expect.stringContaining('LOG_LEVEL'),
          ],
        },
      }),
    )
  })

  it('has two kinds of prediction log, and caches no answers by default', () => {
    expect(readConfig(good).api).toMatchObject({ predictionLog: 'best-effort', predictionCache: 0 })
    const set = { ...good, TENURE_PREDICTION_LOG: 'durable', TENURE_PREDICTION_CACHE: '5000' }
    expect(readConfig(set).api).toMatchObject({ predictionLog: 'durable', predictionCache: 5_000 })
    for (const wrong of [{ TENURE_PREDICTION_LOG: 'sure' }, { TENURE_PREDICTION_CACHE: '-1' }])
      expect(() => readConfig({ ...good, ...wrong })).toThrow(/TENURE_PREDICTION/)
  })

  it('accepts the origins of pages that may call the API, none by default', () => {
    expect(readConfig(good).api.corsOrigins).toEqual([])
    const set = { ...good, TENURE_CORS_ORIGINS: 'https://app.example.com, http://localhost:5173' }
    expect(readConfig(set).api.corsOrigins).toEqual(['https://app.example.com', 'http://localhost:5173'])
    for (const wrong of ['*', 'app.example.com', 'https://app.example.com/'])
      expect(() => readConfig({ ...good, TENURE_CORS_ORIGINS: wrong })).toThrow(
        'TENURE_CORS_ORIGINS is a list of origins such as https://app.example.com',
      )
  })

  it('accepts a port of gRPC, none by default', () => {
    expect(readConfig(good).api.grpcPort).toBeUndefined()
    expect(readConfig({ ...good, TENURE_GRPC_PORT: '8001' }).api.grpcPort).toBe(8_001)
    expect(() => readConfig({ ...good, TENURE_GRPC_PORT: 'on' })).toThrow(
      'TENURE_GRPC_PORT is a whole number from 0 to 65535',
    )
  })

  it('accepts the model of /invocations, none by default', () => {
    expect(readConfig(good).api.invocationsModel).toBeUndefined()
    expect(readConfig({ ...good, TENURE_INVOCATIONS_MODEL: 'iris' }).api.invocationsModel).toBe('iris')
    expect(() => readConfig({ ...good, TENURE_INVOCATIONS_MODEL: 'a b' })).toThrow(
      'TENURE_INVOCATIONS_MODEL is the name of a model',
    )
  })

  it('takes the address of the pages from its variable or from single sign-on, and refuses another scheme', () => {
    expect(readConfig(good).publicUrl).toBeUndefined()
    const given = { ...good, TENURE_PUBLIC_URL: 'https://tenure.example.com/' }
    expect(readConfig(given).publicUrl).toBe('https://tenure.example.com')
    const redirect = { TENURE_OIDC_REDIRECT: 'https://sso.example/sign-in/callback' }
    expect(readConfig({ ...good, ...redirect }).publicUrl).toBe('https://sso.example')
    expect(() => readConfig({ ...good, TENURE_PUBLIC_URL: 'tenure.example.com' })).toThrow(
      'TENURE_PUBLIC_URL is an http:// or https:// address, not "tenure.example.com"',
    )
  })

  it('refuses a database address of another kind', () => {
    expect(() => readConfig({ ...good, DATABASE_URL: 'mysql://x' })).toThrow(/DATABASE_URL is a postgres/)
  })

  it('keeps artifacts in an object store when one is named', () => {
    const keys = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret' }
    const storeOf = (more: object) => readConfig({ ...good, ...more }).objectStore
    expect(storeOf({})).toBeUndefined()
    expect(storeOf({ TENURE_OBJECT_STORE: '/srv/tenure' })).toEqual({
      kind: 'directory',
      directory: '/srv/tenure',
    })
    expect(
      storeOf({ TENURE_OBJECT_STORE: 's3://models/prod/eu/', ...keys, AWS_REGION: 'eu-west-1' }),
    ).toEqual({
      kind: 's3',
      bucket: 'models',
      prefix: 'prod/eu',
      endpoint: 'https://s3.eu-west-1.amazonaws.com',
      region: 'eu-west-1',
      pathStyle: false,
      credentials: expect.any(Function),
    })
    const own = { TENURE_OBJECT_STORE: 's3://models', TENURE_S3_ENDPOINT: 'http://10.0.0.9:9000', ...keys }
    expect(storeOf(own)).toMatchObject({ endpoint: 'http://10.0.0.9:9000', prefix: '', pathStyle: true })
    expect(storeOf({ ...own, TENURE_S3_ADDRESSING: 'host' })).toMatchObject({ pathStyle: false })
  })

  it('reads the credentials of the object store from files for every request', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'tenure-config-')), 'secret')
    writeFileSync(file, 'first\n')
    const { s3 } = readConfig({ ...good, AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY_FILE: file })
    expect(s3?.credentials()).toEqual({ accessKeyId: 'id', secretAccessKey: 'first' })
    writeFileSync(file, 'second\n')
    expect(s3?.credentials()).toEqual({ accessKeyId: 'id', secretAccessKey: 'second' })
    rmSync(dirname(file), { recursive: true })
  })

  it.each([
    [{ TENURE_OBJECT_STORE: 'gs://models' }, /TENURE_OBJECT_STORE is a directory or s3:/],
    [{ TENURE_OBJECT_STORE: 's3://Models' }, /TENURE_OBJECT_STORE is a directory or s3:/],
    [{ TENURE_OBJECT_STORE: 's3://models/../x' }, /TENURE_OBJECT_STORE is a directory or s3:/],
    [
      { TENURE_OBJECT_STORE: 's3://models' },
      /2 issue.*AWS_ACCESS_KEY_ID is missing.*AWS_SECRET_ACCESS_KEY is/,
    ],
    [{ TENURE_S3_ENDPOINT: 'http://x/bucket' }, /TENURE_S3_ENDPOINT is an http:/],
    [{ TENURE_S3_ENDPOINT: 'localhost:9000' }, /TENURE_S3_ENDPOINT is an http:/],
    [{ TENURE_S3_ADDRESSING: 'virtual' }, /TENURE_S3_ADDRESSING is one of host, path/],
    [{ AWS_REGION: 'Frankfurt am Main' }, /AWS_REGION is a region/],
    [{ AWS_ACCESS_KEY_ID: 'a', AWS_ACCESS_KEY_ID_FILE: '/b' }, /AWS_ACCESS_KEY_ID and .*_FILE are both set/],
    [
      { AWS_SECRET_ACCESS_KEY_FILE: '/nowhere/secret' },
      /AWS_SECRET_ACCESS_KEY_FILE is a file that can be read/,
    ],
  ])('refuses wrong settings of the object store: %j', (wrong, says) => {
    expect(() => readConfig({ ...good, ...wrong })).toThrow(says)
  })

  it('takes Temporal from the variables every Temporal client reads', () => {
    const config = readConfig({
      ...good,
      TEMPORAL_ADDRESS: 'temporal.example:7233',
      TEMPORAL_NAMESPACE: 'ml',
    })
    expect(config.temporal).toMatchObject({ address: 'temporal.example:7233', namespace: 'ml' })
  })

  it('keeps what is fetched once outside the checkout', () => {
    expect(cacheDir({ HOME: '/home/ada' })).toBe('/home/ada/.cache/tenure')
    expect(cacheDir({ HOME: '/home/ada', TENURE_CACHE: '/var/cache/tenure' })).toBe('/var/cache/tenure')
  })
})

describe('the configuration of the command', () => {
  it('needs no variable at all', () => {
    const config = readCommandConfig({})
    expect(config).toMatchObject({ host: '127.0.0.1', ports: { api: 7400, temporal: 7233 } })
    expect(config).not.toMatchObject({ databaseUrl: expect.anything() })
  })

  it("keeps Temporal's own pages off unless they are asked for", () => {
    expect(readCommandConfig({}).ports.temporalUi).toBeUndefined()
    expect(readCommandConfig({ TENURE_TEMPORAL_UI_PORT: '8233' }).ports.temporalUi).toBe(8_233)
  })

  it('takes an empty variable for an absent one', () => {
    expect(readCommandConfig({ DATABASE_URL: '', TENURE_KEY: '' })).not.toMatchObject({
      key: expect.anything(),
    })
    const blank = { TENURE_PORT: '', TENURE_HOST: ' ', TENURE_TEMPORAL_PORT: ' ' }
    expect(readCommandConfig(blank)).toMatchObject({
      host: '127.0.0.1',
      ports: { api: 7400, temporal: 7233 },
    })
  })

  it('reports all wrong variables together', () => {
    expect(() => readCommandConfig({ TENURE_URL: 'localhost', TENURE_TEMPORAL_PORT: '70000' })).toThrow(
      /2 issues: TENURE_URL is .*; TENURE_TEMPORAL_PORT is a whole number/,
    )
  })

  it('hands its environment on with changes', () => {
    expect(environmentWith({ B: '2' }, { A: '1', B: '1' })).toEqual({ A: '1', B: '2' })
  })
})

describe('a process with a limit of memory', () => {
  it('keeps the lower limit of the process that starts it', () => {
    const { execPath = '', execArgv } = withMemoryLimit(2_048)
    const print = `process.stdout.write(require('node:child_process').execFileSync('/bin/sh', ['-c', 'ulimit -H -d']))`
    const limitBelow = (kib: string): string =>
      execFileSync(
        '/bin/sh',
        ['-c', `ulimit -d ${kib}; exec "$@"`, 'sh', execPath, ...execArgv, '-e', print],
        { encoding: 'utf8' },
      ).trim()
    expect(limitBelow('900000')).toBe('900000')
    expect(limitBelow('unlimited')).toBe(String((2_048 + reservedForCodeMb) * 1_024))
  })
})
