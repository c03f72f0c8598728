// What a transform may know besides the document: fixed for one migration, or for one read of the source. Never a clock.

export interface TransformSettings {
  /** IANA zone of timestamps written without one. TradingAgents-CN's images set TZ=Asia/Shanghai. */
  readonly zone: string;
  /** Cluster time of the read, in milliseconds: "the future" begins here. */
  readonly asOf: number;
  /** Providers allowed besides the known ones, in lower case. */
  readonly providers: readonly string[];
}

export const defaultSettings: Omit<TransformSettings, 'asOf'> = { zone: 'Asia/Shanghai', providers: [] };
