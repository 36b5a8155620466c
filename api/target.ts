/**
 * Which prediction a path asks for, whatever query it carries. Callers ask for the same few paths again and again, so each is
 * taken apart once; what asks for anything else is the application's.
 */
export interface Target {
  protocol: 'predict' | 'infer'
  model: string
  /** The version that alone may answer. */
  version?: string
}

const patterns: readonly [Target['protocol'], RegExp][] = [
  ['predict', /^\/v1\/models\/([^/?]+)\/predict(?:\?|$)/],
  ['infer', /^\/v2\/models\/([^/?]+)\/infer(?:\?|$)/],
  ['infer', /^\/v2\/models\/([^/?]+)\/versions\/([^/?]+)\/infer(?:\?|$)/],
]
/** Paths come from outside, and somebody may send ever new ones. */
const mostKnown = 1_000

export function createTargets(): (
  method: string | undefined,
  path: string | undefined,
) => Target | undefined {
  const known = new Map<string, Target>()
  return (method, path) => {
    if (method !== 'POST' || path === undefined) return undefined
    const found = known.get(path) ?? targetOf(path)
    if (found === undefined) return undefined
    if (known.size >= mostKnown) known.clear()
    known.set(path, found)
    return found
  }
}

function targetOf(path: string): Target | undefined {
  for (const [protocol, pattern] of patterns) {
    const [, model, version] = pattern.exec(path) ?? []
    if (model === undefined) continue
    return {
      protocol,
      model: decoded(model),
      ...(version === undefined ? {} : { version: decoded(version) }),
    }
  }
  return undefined
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
