/** Limits the memory of a child process. */

/** The address space that Node 24 reserves for machine code at its start, measured. The system counts all of it as data, used or not. */
export const reservedForCodeMb = Number.parseInt(process.versions.node, 10) >= 24 ? 512 : 0

/** The command that limits a process, and the arguments before the process's own. */
export function withMemoryLimit(limitMb: number | undefined): { execPath?: string; execArgv: string[] } {
  if (limitMb === undefined) return { execArgv: [] }
  // The limit covers private writable memory, inside and outside V8's heap. V8 crashes silently when an allocation is refused, so its own
  // limit is lower.
  const heap = `--max-old-space-size=${Math.floor(limitMb / 2)}`
  // A process with a lower limit cannot raise it for its child.
  const lower = 'limit=$(ulimit -H -d); [ "$limit" != unlimited ] && [ "$limit" -le "$0" ]'
  const script = `${lower} || ulimit -d "$0" || exit 1; exec "$@"`
  const shell = ['-c', script, String((limitMb + reservedForCodeMb) * 1_024), process.execPath]
  return { execPath: '/bin/sh', execArgv: [...shell, heap] }
}
