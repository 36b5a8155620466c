/** Reads compose.yaml as `docker compose` does: variables, anchors, and the order in which its services start. */
import { parse } from 'yaml'

export type Condition = 'service_started' | 'service_healthy' | 'service_completed_successfully'

export interface ComposeService {
  name: string
  image: string
  command: string[]
  entrypoint?: string[]
  environment: Record<string, string>
  /** `volume:/path` or `volume:/path:ro`. */
  volumes: string[]
  /** Conditions on other services before it starts. */
  dependsOn: Record<string, Condition>
  /** Without the word CMD. */
  healthcheck?: string[]
  init: boolean
  restart: string
}

interface Given extends Partial<Omit<ComposeService, 'dependsOn' | 'healthcheck' | 'environment'>> {
  image: string
  environment?: Record<string, string | number>
  depends_on?: Record<string, { condition: Condition }>
  healthcheck?: { test: string[] }
}

/** Returns the services in starting order. Throws when a variable with `:?` is missing. */
export function readCompose(text: string, variables: Readonly<Record<string, string>>): ComposeService[] {
  const { services } = withVariables(parse(text, { merge: true }), variables) as {
    services: Record<string, Given>
  }
  const read = Object.entries(services).map(([name, given]): ComposeService => {
    const {
      image,
      command = [],
      entrypoint,
      environment = {},
      volumes = [],
      init = false,
      restart = 'no',
    } = given
    return {
      name,
      image,
      command,
      ...(entrypoint !== undefined && { entrypoint }),
      environment: Object.fromEntries(
        Object.entries(environment).map(([key, value]) => [key, String(value)]),
      ),
      volumes,
      dependsOn: Object.fromEntries(
        Object.entries(given.depends_on ?? {}).map(([other, { condition }]) => [other, condition]),
      ),
      ...(given.healthcheck !== undefined && { healthcheck: given.healthcheck.test.slice(1) }),
      init,
      restart,
    }
  })
  const ordered: ComposeService[] = []
  const add = (service: ComposeService): void => {
    if (ordered.includes(service)) return
    for (const other of Object.keys(service.dependsOn)) add(read.find(({ name }) => name === other)!)
    ordered.push(service)
  }
  read.forEach(add)
  return ordered
}

/** Substitutes in every text: `${NAME:?message}`, `${NAME:-default}`, and `$$` for `$`. */
function withVariables(value: unknown, variables: Readonly<Record<string, string>>): unknown {
  if (typeof value === 'string')
    return value.replaceAll(
      /\$\$|\$\{(\w+):([?-])([^}]*)\}/g,
      (whole, name: string, kind: string, rest: string) => {
        if (whole === '$$') return '$'
        const given = variables[name]
        if (given !== undefined && given !== '') return given
        if (kind === '?') throw new Error(`${name}: ${rest}`)
        return rest
      },
    )
  if (Array.isArray(value)) return value.map((each) => withVariables(each, variables))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => [name, withVariables(each, variables)]),
    )
  return value
}
