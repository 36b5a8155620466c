/** Finds variables of the environment that start like Tenure's and that nothing reads, because most are misspelled. */
import { isError } from '../domain/errors.ts'
import { cacheDir, environmentWith, readCommandConfig, readConfig } from '../temporal.config.ts'

/** Read by docker compose, by Kubernetes for its services, and by the tests. */
const others =
  /^TENURE_(?:TEST_.*|\w+_PASSWORD|(?:\w+_)?SERVICE_(?:HOST|PORT).*|(?:\w+_)?PORT_\d+_(?:TCP|UDP).*)$/

export function findUnknownVariables(environment = environmentWith({})): string[] {
  const read = namesRead({ TENURE_BUILD_ID: 'any' })
  return Object.keys(environment)
    .filter((name) => name.startsWith('TENURE_') && !read.has(name) && !others.test(name))
    .toSorted()
}

/** Returns the names that the readers of the configuration look up in an environment; they look all up, also when some are missing. */
export function namesRead(given: Readonly<Record<string, string>>): Set<string> {
  const names = new Set<string>()
  const environment = new Proxy<Record<string, string | undefined>>(given, {
    get(target, name) {
      names.add(String(name))
      return target[String(name)]
    },
  })
  for (const reader of [readConfig, readCommandConfig, cacheDir])
    try {
      reader(environment)
    } catch (error) {
      if (!isError(error, 'configuration_invalid')) throw error
    }
  return names
}
