/** Opens the gateway that a model file names. */
import type { Gateway, Traffic } from '../../domain/serving/gateway.ts'
import { openHaproxy } from './haproxy.ts'

export interface GatewayAccess {
  /** The private hosts that gateways of model files may name. */
  privateHosts: readonly string[]
}

export function openGateway(traffic: Traffic, { privateHosts }: GatewayAccess): Gateway {
  switch (traffic.gateway) {
    case 'haproxy':
      return openHaproxy(traffic, privateHosts)
    default:
      return traffic.gateway satisfies never
  }
}
