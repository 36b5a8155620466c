/**
 * Decides which addresses of other systems this process connects to, so that an address from a model file, from `tenure apply` or from the
 * answer of a server reaches nothing inside the network: the check is made on the resolved address, at the moment of the connection.
 */
import { lookup as resolveName } from 'node:dns'
import { BlockList, connect, isIP, type LookupFunction, type Socket } from 'node:net'
import { DomainError } from '../domain/errors.ts'

/**
 * The private hosts that a call may reach: those of TENURE_PRIVATE_HOSTS, or `all` for an address that the operator of this machine has
 * set in the environment or in a file that the environment names.
 */
export type PrivateHosts = 'all' | readonly string[]

/** Throws `address_not_allowed` for a host that is a private address. */
export type RequireHost = (hostname: string) => void

const subnets = (family: 'ipv4' | 'ipv6', ...ranges: readonly [net: string, bits: number][]) => {
  const list = new BlockList()
  for (const [net, bits] of ranges) list.addSubnet(net, bits, family)
  return list
}
/** The IPv4 blocks that are not global: IANA's registry of special-purpose addresses, multicast and reserved ones. */
const special4 = subnets(
  'ipv4',
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
)
/** Outside of it lie loopback, link-local, unique-local, multicast, IPv4-mapped and translated addresses. */
const global6 = subnets('ipv6', ['2000::', 3])
const special6 = subnets('ipv6', ['2001::', 23], ['2001:db8::', 32], ['2002::', 16], ['3fff::', 20])

function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !special4.check(address, 'ipv4')
  return global6.check(address, 'ipv6') && !special6.check(address, 'ipv6')
}

/**
 * How a connection is made to hosts of untrusted addresses: a check of the host, and a `lookup` that refuses private addresses. `isListed`:
 * whether a name or an address is one of the private hosts.
 */
export function createGuard(
  privateHosts: readonly string[],
  resolve = resolveName,
): { requireHost: RequireHost; lookup: LookupFunction; isListed: (hostname: string) => boolean } {
  const listed = new BlockList()
  const names: string[] = []
  for (const host of privateHosts) {
    const [address = '', bits] = host.split('/')
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
    if (isIP(address) === 0) names.push(host.toLowerCase())
    else if (bits === undefined) listed.addAddress(address, family)
    else listed.addSubnet(address, Number(bits), family)
  }
  const isListedAddress = (address: string): boolean =>
    listed.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
  const isListedName = (hostname: string): boolean => {
    const name = hostname.toLowerCase().replace(/\.$/, '')
    return names.some((each) => (each.startsWith('.') ? name.endsWith(each) : name === each))
  }
  const mayReach = (address: string): boolean => {
    const [plain = ''] = address.split('%')
    return isPublic(plain) || isListedAddress(plain)
  }
  return {
    isListed: (hostname) => {
      const plain = hostname.replace(/^\[(.*)\]$/, '$1')
      return isIP(plain) === 0 ? isListedName(plain) : isListedAddress(plain)
    },
    requireHost: (hostname) => {
      if (isIP(hostname) !== 0 && !mayReach(hostname)) throw refusal(hostname)
    },
    lookup: (hostname, options, callback) =>
      resolve(hostname, { ...options, all: true }, (error, found) => {
        if (error !== null) return callback(error, '')
        if (!isListedName(hostname) && !found.every(({ address }) => mayReach(address)))
          return callback(refusal(hostname), '')
        if (options.all === true) return callback(null, found)
        callback(null, found[0]?.address ?? '', found[0]?.family)
      }),
  }
}

const refusal = (hostname: string): DomainError =>
  new DomainError(
    'address_not_allowed',
    `${hostname} is a private address, or a name of one, and TENURE_PRIVATE_HOSTS does not list it: add it there on each machine with a worker or replica, and start them again`,
  )

/** Connects to a server that does not speak HTTP. Fails like a connection that is refused, also after `maxMs`. */
export function outgoingSocket(
  { host, port }: { host: string; port: number },
  { privateHosts, maxMs }: { privateHosts: PrivateHosts; maxMs: number },
): Promise<Socket> {
  const guard = privateHosts === 'all' ? undefined : createGuard(privateHosts)
  guard?.requireHost(host)
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, lookup: guard?.lookup })
    socket.setTimeout(maxMs, () => socket.destroy(new Error(`no connection within ${maxMs} ms`)))
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.setTimeout(0)
      socket.off('error', reject)
      resolve(socket)
    })
  })
}
