/**
 * Moves the weights of HAProxy by its runtime socket and reads its counters. The commands are those of its management guide, chapter 9.3;
 * HAProxy 2.6 and later know all of them.
 */
import type { Gateway, GatewayServer, HaproxyTraffic } from '../../domain/serving/gateway.ts'
import { outgoingSocket } from '../outgoing-address.ts'

const connectMs = 1_000
/** Below the time in which an order may be carried out, with `connectMs`. */
const answerMs = 2_000
/** Of some hundred servers. */
const maxBytes = 1_048_576

export function openHaproxy(
  { address, backend }: Pick<HaproxyTraffic, 'address' | 'backend'>,
  privateHosts: readonly string[],
): Gateway {
  const at = address.lastIndexOf(':')
  const place = {
    host: address.slice(0, at).replace(/^\[(.*)\]$/, '$1'),
    port: Number(address.slice(at + 1)),
  }

  /** Sends commands in one connection, which HAProxy carries out in turn, and returns their outputs. */
  const ask = async (commands: readonly string[]): Promise<string> => {
    const socket = await outgoingSocket(place, { privateHosts, maxMs: connectMs })
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${answerMs} ms`)), answerMs)
    try {
      socket.end(`${commands.join(';')}\n`)
      let text = ''
      for await (const part of socket.setEncoding('utf8')) {
        text += String(part)
        if (text.length > maxBytes) throw new Error(`the answer has more than ${maxBytes} bytes`)
      }
      return text
    } finally {
      clearTimeout(timer)
      socket.destroy()
    }
  }
  const reading = [`show stat ${backend} 4 -1`, `show servers state ${backend}`]
  const read = async (): Promise<GatewayServer[]> => serversIn(await ask(reading), backend)
  return {
    read,
    async set({ weights, leased }, servers) {
      const commands = servers.flatMap(({ name, weight, lease }) => {
        const wanted = weights[name] ?? 0
        const server = `${backend}/${name}`
        const isLeased = leased.includes(name)
        return [
          ...(isLeased && lease === 'off' ? [`enable health ${server}`] : []),
          // A server stays down when its check is stopped while it is down.
          ...(!isLeased && wanted > 0 && lease === 'on'
            ? [`disable health ${server}`, `set server ${server} health up`]
            : []),
          ...(weight === wanted ? [] : [`set weight ${server} ${wanted}`]),
        ]
      })
      // With the commands, so that no request comes between them and the counters from which the new shares count.
      return serversIn(await ask([...commands, ...reading]), backend)
    },
  }
}

/** The bits of `srv_check_state`: whether the check is configured, and whether it runs. */
const configured = 2
const enabled = 4
/** `srv_op_state` of a server that runs. */
const running = '2'

function serversIn(text: string, backend: string): GatewayServer[] {
  const stats = tableIn(text, /^# (pxname,.*)$/m, ',')
  const states = tableIn(text, /^# (be_id .*)$/m, ' ')
  if (stats === undefined || states === undefined)
    throw new Error(`there is no state of the backend ${backend}: ${reasonIn(text)}`)
  const byName = new Map(states.map((state) => [state['srv_name'], state]))
  return stats.map((stat): GatewayServer => {
    const count = (name: string): number => Number(stat[name] ?? 0) || 0
    const state = byName.get(stat['svname']) ?? {}
    const check = Number(state['srv_check_state'] ?? 0)
    // Without an address of its own, a check asks the server of the model and says nothing of a lease.
    const isLease = state['srv_check_port'] !== '0' || state['srv_check_addr'] !== '-'
    // Retries are sent to the same server; each request counts once.
    const attempts = count('stot')
    const requests = attempts - count('wretr')
    const answered = ['hrsp_1xx', 'hrsp_2xx', 'hrsp_3xx', 'hrsp_4xx', 'hrsp_other'].reduce(
      (sum, name) => sum + count(name),
      0,
    )
    // A request without a response is a failure of the server, unless it is under way or its caller has left.
    const unanswered = requests - count('scur') - count('cli_abrt') - answered
    return {
      name: stat['svname']!,
      weight: Number(state['srv_uweight'] ?? stat['weight']),
      isUp: state['srv_op_state'] === running && state['srv_admin_state'] === '0',
      lease: !isLease || (check & configured) === 0 ? 'absent' : (check & enabled) === 0 ? 'off' : 'on',
      attempts,
      requests,
      failures: Math.max(count('hrsp_5xx'), unanswered),
    }
  })
}

/** Not the text of another server, whose address somebody has written. */
const reasonIn = (text: string): string =>
  /^(?:Can't find backend|Permission denied|Unknown command)/m.exec(text)?.[0] ??
  'the answer is not that of HAProxy'

/** The rows below a heading, up to an empty line, by the names of the heading. */
function tableIn(text: string, heading: RegExp, separator: string): Record<string, string>[] | undefined {
  const found = heading.exec(text)
  if (found === null) return undefined
  const names = found[1]!.split(separator)
  const rows = text.slice(found.index).split('\n').slice(1)
  const end = rows.findIndex((row) => row.trim() === '')
  return rows.slice(0, end < 0 ? undefined : end).map((row) => {
    const values = row.split(separator)
    return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
  })
}
