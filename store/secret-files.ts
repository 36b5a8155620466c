/** Reads secrets from files, as Docker and Kubernetes mount them. */
import { readFileSync } from 'node:fs'

type Environment = Record<string, string | undefined>

/** Each may be given as the file `<name>_FILE` instead. Those of S3 are read for every request, and not here. */
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

/** The environment with the secrets of files as if they were variables. Collects issues. */
export function withSecretFiles(environment: Environment, issues: string[]): Environment {
  const read: Environment = {}
  for (const name of secretNames) {
    const file = environment[`${name}_FILE`]
    if (!file) continue
    if (environment[name]) issues.push(`${name} and ${name}_FILE are both set: keep one of them`)
    read[name] = readSecret(file)
    if (read[name] === undefined)
      issues.push(`${name}_FILE is a file that can be read and is not empty, not "${file}"`)
  }
  return Object.keys(read).length === 0 ? environment : { ...environment, ...read }
}

/** The variables of files whose secrets `changes` sets: a process gets one of both. */
export const replacedFiles = (changes: Environment): Environment =>
  Object.fromEntries(secretNames.filter((name) => name in changes).map((name) => [`${name}_FILE`, undefined]))

/** Without the white space around it; undefined when the file is empty or cannot be read. */
export function readSecret(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
