/** Reads the settings of a Temporal cluster, which are the same on all of its machines. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'

export interface ClusterSettings {
  /** Address of Postgres without a database name, for a role that may create databases at the first start. */
  database: string
  /** Cannot be changed after the databases are created. */
  historyShards: number
  /** A name that every certificate contains. */
  serverName: string
  /** File paths: the certificate authority, and the certificate and key of this machine's processes. */
  ca: string
  certificate: string
  key: string
}

/** Reads the settings. Paths are relative to the file. Throws `configuration_invalid` with all issues. */
export function readClusterSettings(file: string): ClusterSettings {
  const settings = parse(file)
  const issues: string[] = []
  const text = (name: keyof ClusterSettings): string => {
    const value = settings[name]
    if (typeof value === 'string' && value !== '') return value
    issues.push(`${name} is missing`)
    return ''
  }
  const path = (name: 'ca' | 'certificate' | 'key'): string => {
    const found = resolve(dirname(file), text(name))
    try {
      readFileSync(found)
    } catch (error) {
      issues.push(`${name}: ${(error as Error).message}`)
    }
    return found
  }
  const database = text('database')
  if (database !== '' && !/^postgres(ql)?:\/\/[^/]+\/?(\?|$)/.test(database))
    issues.push('database is an address such as postgres://temporal:password@db.example.com:5432')
  const { historyShards } = settings
  if (!Number.isInteger(historyShards) || Number(historyShards) < 1)
    issues.push('historyShards is a whole number from 1, such as 128')
  const checked = {
    database,
    historyShards: Number(historyShards),
    serverName: text('serverName'),
    ca: path('ca'),
    certificate: path('certificate'),
    key: path('key'),
  }
  if (issues.length > 0) throw new DomainError('configuration_invalid', `${file}: ${issues.join('; ')}`)
  return checked
}

function parse(file: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
    throw new Error('it holds no object')
  } catch (error) {
    throw new DomainError('configuration_invalid', `${file}: ${(error as Error).message}`)
  }
}
