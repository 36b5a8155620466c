/** Reads secrets from files, as Docker and Kubernetes mount them. */
import { readFileSync } from 'node:fs'

type Environment = Record<string, string | undefined>

/** Each secret may be given as the file `<name>_FILE` instead. The secrets of S3 are read for every request, and not here. */
export const secretNames = [
  'DATABASE_URL',
  'TENURE_READER_DATABASE_URL',
  'TENURE_OWNER_DATABASE_URL',
  'TEMPORAL_API_KEY',
  'TENURE_PAYLOAD_KEYS',
  'TENURE_OIDC_CLIENT_SECRET',
  'TENURE_MLFLOW_TOKEN',
  'TENURE_OPENLINEAGE_TOKEN',
  'TENURE_KEY',
] as const

/** The environment with the secrets from files added as variables. Collects issues. */
export function withSecretFiles(environment: Environment, issues: string[]): Environment {
  const read: Environment = {}
  for (const name of secretNames) {
    const file = environment[`${name}_FILE`]?.trim()
    if (!file) continue
    if (environment[name]?.trim()) issues.push(`${name} and ${name}_FILE are both set: keep one of them`)
    read[name] = readSecret(file)
    if (read[name] === undefined)
      issues.push(`${name}_FILE is a file that can be read and is not empty, not "${file}"`)
  }
  return Object.keys(read).length === 0 ? environment : { ...environment, ...read }
}

/** The file variables of secrets that `changes` sets directly, because a process gets only one of the two. */
export const replacedFiles = (changes: Environment): Environment =>
  Object.fromEntries(secretNames.filter((name) => name in changes).map((name) => [`${name}_FILE`, undefined]))

/** The secret without surrounding white space; undefined for an empty or unreadable file. */
export function readSecret(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
