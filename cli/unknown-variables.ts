/** Finds variables of the environment that start like Tenure's and that nothing reads, because most are misspelled. */
import { cacheDir, environmentWith, readCommandConfig, readConfig } from '../temporal.config.ts'

/** Read by docker compose, by Kubernetes for its services, and by the tests. */
const others =
  /^TENURE_(?:TEST_.*|\w+_PASSWORD|(?:\w+_)?SERVICE_(?:HOST|PORT).*|(?:\w+_)?PORT_\d+_(?:TCP|UDP).*)$/

export function findUnknownVariables(environment = environmentWith({})): string[] {
  const read = new Set<string>()
  // The readers look every name up, whatever the other variables are.
  const nothing = new Proxy<Record<string, string>>(
    { TENURE_BUILD_ID: 'any' },
    {
      get(target, name) {
        read.add(String(name))
        return target[String(name)]
      },
    },
  )
  for (const reader of [readConfig, readCommandConfig, cacheDir])
    try {
      reader(nothing)
    } catch {
      // The database is missing.
    }
  return Object.keys(environment)
    .filter((name) => name.startsWith('TENURE_') && !read.has(name) && !others.test(name))
    .toSorted()
}
