/**
 * Runs a private S3 server, moto from PyPI, installed once into the cache of this machine. moto implements conditional writes as S3 does;
 * other small servers do not.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { preparePython } from '../../../store/python/python-environment.ts'
import { freePort } from '@tenure/embedded'
import type { ObjectStoreSettings, S3Settings } from '../../../store/objects/object-store.ts'
import { openS3Store, type S3StoreOptions } from '../../../store/objects/s3/s3-store.ts'
import { cacheDir, systemEnvironment } from '../../../temporal.config.ts'
import { outgoingFetch } from '../../../store/outgoing-fetch.ts'

export interface MotoServer {
  endpoint: string
  /** Creates a bucket and returns the store settings for it. */
  bucket(prefix?: string): Promise<S3Settings>
  stop(): Promise<void>
}

const readyMs = 120_000
const readLimits = { privateHosts: 'all', maxBytes: 100_000, maxMs: 60_000 } as const
let running: Promise<MotoServer | undefined> | undefined
let buckets = 0

/** Starts the server once per test process. Returns undefined and prints the reason when the server cannot be installed. */
export const sharedMoto = (): Promise<MotoServer | undefined> =>
  (running ??= startMoto().catch((error: Error) => {
    process.stderr.write(`No S3 server: ${error.message.split('\n')[0]}\n`)
    return undefined
  }))

export async function startMoto(): Promise<MotoServer> {
  const { python } = await preparePython({
    requirements: fileURLToPath(new URL('moto-requirements.txt', import.meta.url)),
    cache: cacheDir(),
    env: systemEnvironment(),
    signal: AbortSignal.timeout(900_000),
  })
  const port = await freePort()
  const child = spawn(join(python, '..', 'moto_server'), ['-H', '127.0.0.1', '-p', String(port)], {
    stdio: 'ignore',
  })
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  const endpoint = `http://127.0.0.1:${port}`
  const untilMs = performance.now() + readyMs
  while (
    !(await outgoingFetch(endpoint, readLimits).then(
      async (answer) => {
        await answer.discard()
        return answer.ok
      },
      () => false,
    ))
  ) {
    if (child.exitCode !== null || performance.now() > untilMs) throw new Error('moto_server did not start')
    await pause(50)
  }
  return {
    endpoint,
    async bucket(prefix = 'tenure') {
      const settings = settingsOf(endpoint, `tenure-${process.pid}-${++buckets}`, prefix)
      const made = await outgoingFetch(`${endpoint}/${settings.bucket}`, { ...readLimits, method: 'PUT' })
      await made.discard()
      if (!made.ok) throw new Error(`no bucket: ${made.status}`)
      return settings
    },
    async stop() {
      running = undefined
      process.off('exit', kill)
      kill()
      await exited
    },
  }
}

export const settingsOf = (endpoint: string, bucket: string, prefix: string): S3Settings => ({
  kind: 's3',
  bucket,
  prefix,
  endpoint,
  region: 'us-east-1',
  pathStyle: true,
  credentials: () => ({ accessKeyId: 'test', secretAccessKey: 'a-secret-of-the-tests' }),
})

/** Attempts with which an unavailable store is detected quickly. */
const limits = { attempts: 3, silentMs: 60_000, pauseMs: 5 }

export const openTestStore = (settings: ObjectStoreSettings, options: S3StoreOptions = {}) =>
  openS3Store(settings as S3Settings, { limits, ...options })

/** Returns the environment variables that name the same store. */
export const environmentOf = ({ bucket, prefix, endpoint, credentials }: S3Settings) => ({
  TENURE_OBJECT_STORE: `s3://${bucket}/${prefix}`,
  TENURE_S3_ENDPOINT: endpoint,
  AWS_ACCESS_KEY_ID: credentials().accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials().secretAccessKey,
})
