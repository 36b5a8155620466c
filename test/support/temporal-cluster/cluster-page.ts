/** Reads the blocks of docs/how-to/machines/temporal-cluster.md and replaces the page's address, port and files by those of a test. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { clusterPrograms } from '@tenure/embedded/install/temporal-cluster'
import { cacheDir, checkout, environmentWith } from '../../../temporal.config.ts'
import { blocksOf } from '../docs/markdown.ts'

export interface ClusterPlaces {
  /** Directory of the certificates and of `cluster.json`. */
  directory: string
  address: string
  /** The port of the first frontend; the second listens two ports above. */
  port: number
  /** Address of Postgres for a role that may create databases, without a database name. */
  databaseAddress: string
}

export interface ClusterPage {
  /** Returns the block that contains the text. */
  block(text: string): string
  /** Returns the block that makes the certificates and the settings file. */
  prepare(): Promise<void>
}

/** Returns why no cluster can start without minutes of building; undefined when it can. */
export const whyNoCluster = (): string | undefined =>
  existsSync(clusterPrograms({ cache: cacheDir(), arch: process.arch }).server)
    ? undefined
    : '`npm run temporal-cluster -- build` has not built it on this machine'

const page = readFileSync(join(checkout, 'docs', 'how-to', 'machines', 'temporal-cluster.md'), 'utf8')

export function clusterPage({ directory, address, port, databaseAddress }: ClusterPlaces): ClusterPage {
  const block = (text: string): string =>
    blockWith(text)
      .replaceAll(
        'npm run temporal-cluster --',
        `'${process.execPath}' --import tsx deploy/temporal-cluster/cluster.ts`,
      )
      .replaceAll('cluster.json', `'${join(directory, 'cluster.json')}'`)
      .replaceAll(/\b10\.0\.0\.5\b/g, address)
      .replaceAll(/\b7233\b/g, String(port))
      .replaceAll(/\b7235\b/g, String(port + 2))
      .replaceAll('postgres://temporal:secret@10.0.0.4:5432', databaseAddress)
  return {
    block,
    async prepare() {
      mkdirSync(directory, { recursive: true })
      await promisify(execFile)('bash', ['-e', '-c', block('openssl')], {
        cwd: directory,
        env: environmentWith({}),
      })
      writeFileSync(join(directory, 'cluster.json'), block('"historyShards"'), { mode: 0o600 })
    },
  }
}

/** Files that a client needs from the certificate directory. */
export const clientFiles = ['temporal-ca.pem', 'tenure.pem', 'tenure.key']

/** Returns the client settings except the address: the page's `TEMPORAL_TLS_…`, with the files of this directory. */
export async function clientSettings(directory: string): Promise<Record<string, string>> {
  const lines = blockWith('TEMPORAL_TLS_SERVER_NAME')
    .split('\n')
    .filter((line) => line.startsWith('export '))
  const printed = await promisify(execFile)('bash', ['-c', `${lines.join('\n')}\nenv -0`], {
    cwd: directory,
    env: {},
  })
  const pairs = printed.stdout.split('\0').map((line) => line.split(/=(.*)/s) as [string, string])
  return Object.fromEntries(pairs.filter(([name]) => name.startsWith('TEMPORAL_TLS_')))
}

function blockWith(text: string): string {
  const found = blocksOf(page).find((each) => each.text.includes(text))
  if (found === undefined) throw new Error(`the page has no block with ${text}`)
  return found.text
}
