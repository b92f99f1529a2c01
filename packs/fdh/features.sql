-- The Fraud Detection Handbook's 15 features and 47 more that a stream can know.
-- A window (t - w, t] is w minus one second: the data's times are whole seconds.
-- A fraud's label arrives 7 days after its payment, so labels in (t - w, t] are of payments in (t - 7d - w, t - 7d].
WITH known AS (
    SELECT *,
           -- the handbook's: payments and their mean amount per customer, the current one included
           CASE WHEN customer_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER customer_1d END AS customer_id_nb_tx_1day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER customer_7d END AS customer_id_nb_tx_7day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER customer_30d END AS customer_id_nb_tx_30day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER customer_1d END
                AS customer_id_avg_amount_1day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER customer_7d END
                AS customer_id_avg_amount_7day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER customer_30d END
                AS customer_id_avg_amount_30day_window,
           -- what is known of a terminal: payments at least 7 days old, and the frauds among them
           CASE WHEN terminal_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER terminal_known_1d END
                AS terminal_id_nb_tx_1day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER terminal_known_7d END
                AS terminal_id_nb_tx_7day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER terminal_known_14d END
                AS terminal_id_nb_tx_14day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER terminal_known_21d END
                AS terminal_id_nb_tx_21day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER terminal_known_28d END
                AS terminal_id_nb_tx_28day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER terminal_known_30d END
                AS terminal_id_nb_tx_30day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER terminal_1d, 0)::BIGINT END
                AS terminal_id_nb_fraud_1day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER terminal_7d, 0)::BIGINT END
                AS terminal_id_nb_fraud_7day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER terminal_14d, 0)::BIGINT END
                AS terminal_id_nb_fraud_14day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER terminal_21d, 0)::BIGINT END
                AS terminal_id_nb_fraud_21day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER terminal_28d, 0)::BIGINT END
                AS terminal_id_nb_fraud_28day_window,
           CASE WHEN terminal_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER terminal_30d, 0)::BIGINT END
                AS terminal_id_nb_fraud_30day_window,
           -- and of a customer
           CASE WHEN customer_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER customer_1d, 0)::BIGINT END
                AS customer_id_nb_fraud_1day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER customer_7d, 0)::BIGINT END
                AS customer_id_nb_fraud_7day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER customer_14d, 0)::BIGINT END
                AS customer_id_nb_fraud_14day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER customer_21d, 0)::BIGINT END
                AS customer_id_nb_fraud_21day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER customer_28d, 0)::BIGINT END
                AS customer_id_nb_fraud_28day_window,
           CASE WHEN customer_id IS NOT NULL
                THEN coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER customer_30d, 0)::BIGINT END
                AS customer_id_nb_fraud_30day_window,
           -- amounts before the current one
           CASE WHEN customer_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER customer_past_7d END AS customer_past_mean_7d,
           CASE WHEN customer_id IS NOT NULL
                THEN stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER customer_past_7d END
                AS customer_past_std_7d,
           CASE WHEN customer_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER customer_past_30d END AS customer_past_mean_30d,
           CASE WHEN customer_id IS NOT NULL
                THEN stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER customer_past_30d END
                AS customer_past_std_30d,
           CASE WHEN customer_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER customer_past_90d END AS customer_past_mean_90d,
           CASE WHEN customer_id IS NOT NULL
                THEN stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER customer_past_90d END
                AS customer_past_std_90d,
           CASE WHEN customer_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER customer_past_all END AS customer_past_mean_all,
           CASE WHEN customer_id IS NOT NULL
                THEN stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER customer_past_all END
                AS customer_past_std_all,
           CASE WHEN terminal_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER terminal_past_7d END AS terminal_past_mean_7d,
           CASE WHEN terminal_id IS NOT NULL
                THEN stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER terminal_past_7d END
                AS terminal_past_std_7d,
           CASE WHEN terminal_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER terminal_past_30d END AS terminal_past_mean_30d,
           CASE WHEN terminal_id IS NOT NULL
                THEN stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER terminal_past_30d END
                AS terminal_past_std_30d,
           CASE WHEN terminal_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER terminal_past_90d END AS terminal_past_mean_90d,
           CASE WHEN terminal_id IS NOT NULL
                THEN stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER terminal_past_90d END
                AS terminal_past_std_90d,
           CASE WHEN terminal_id IS NOT NULL
                THEN avg(amount) FILTER (WHERE kind = 'payment') OVER terminal_past_all END AS terminal_past_mean_all,
           CASE WHEN terminal_id IS NOT NULL
                THEN stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER terminal_past_all END
                AS terminal_past_std_all,
           CASE WHEN customer_id IS NOT NULL
                THEN max(amount) FILTER (WHERE kind = 'payment') OVER customer_past_30d END AS customer_past_max_30d,
           CASE WHEN customer_id IS NOT NULL
                THEN lag(CASE WHEN kind = 'payment' THEN event_time END IGNORE NULLS) OVER customer END
                AS customer_previous_at,
           CASE WHEN customer_id IS NOT NULL AND terminal_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER pair_past_90d END
                AS customer_terminal_nb_tx_90day_window,
           -- the newest payment at the terminal whose label would be known, and how many known ones were genuine
           CASE WHEN terminal_id IS NOT NULL
                THEN last_value(CASE WHEN kind = 'payment' THEN event_time END IGNORE NULLS) OVER terminal_known_all END
                AS terminal_known_at,
           CASE WHEN terminal_id IS NOT NULL
                THEN count(*) FILTER (WHERE kind = 'payment') OVER terminal_known_all
                     - coalesce(sum(label_delta) FILTER (WHERE kind = 'label') OVER terminal_all, 0)::BIGINT END
                AS terminal_genuine
    FROM events
    WINDOW customer AS (PARTITION BY customer_id ORDER BY event_time),
           customer_1d AS (customer RANGE BETWEEN INTERVAL 86399 SECONDS PRECEDING AND CURRENT ROW),
           customer_7d AS (customer RANGE BETWEEN INTERVAL 604799 SECONDS PRECEDING AND CURRENT ROW),
           customer_14d AS (customer RANGE BETWEEN INTERVAL 1209599 SECONDS PRECEDING AND CURRENT ROW),
           customer_21d AS (customer RANGE BETWEEN INTERVAL 1814399 SECONDS PRECEDING AND CURRENT ROW),
           customer_28d AS (customer RANGE BETWEEN INTERVAL 2419199 SECONDS PRECEDING AND CURRENT ROW),
           customer_30d AS (customer RANGE BETWEEN INTERVAL 2591999 SECONDS PRECEDING AND CURRENT ROW),
           customer_past_7d AS (customer
                                RANGE BETWEEN INTERVAL 604799 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
           customer_past_30d AS (customer
                                 RANGE BETWEEN INTERVAL 2591999 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
           customer_past_90d AS (customer
                                 RANGE BETWEEN INTERVAL 7775999 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
           customer_past_all AS (customer RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
           terminal AS (PARTITION BY terminal_id ORDER BY event_time),
           terminal_1d AS (terminal RANGE BETWEEN INTERVAL 86399 SECONDS PRECEDING AND CURRENT ROW),
           terminal_7d AS (terminal RANGE BETWEEN INTERVAL 604799 SECONDS PRECEDING AND CURRENT ROW),
           terminal_14d AS (terminal RANGE BETWEEN INTERVAL 1209599 SECONDS PRECEDING AND CURRENT ROW),
           terminal_21d AS (terminal RANGE BETWEEN INTERVAL 1814399 SECONDS PRECEDING AND CURRENT ROW),
           terminal_28d AS (terminal RANGE BETWEEN INTERVAL 2419199 SECONDS PRECEDING AND CURRENT ROW),
           terminal_30d AS (terminal RANGE BETWEEN INTERVAL 2591999 SECONDS PRECEDING AND CURRENT ROW),
           terminal_past_7d AS (terminal
                                RANGE BETWEEN INTERVAL 604799 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
           terminal_past_30d AS (terminal
                                 RANGE BETWEEN INTERVAL 2591999 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
           terminal_past_90d AS (terminal
                                 RANGE BETWEEN INTERVAL 7775999 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
           terminal_past_all AS (terminal RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
           terminal_all AS (terminal RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
           terminal_known_1d AS (terminal
                                 RANGE BETWEEN INTERVAL 691199 SECONDS PRECEDING AND INTERVAL 7 DAYS PRECEDING),
           terminal_known_7d AS (terminal
                                 RANGE BETWEEN INTERVAL 1209599 SECONDS PRECEDING AND INTERVAL 7 DAYS PRECEDING),
           terminal_known_14d AS (terminal
                                  RANGE BETWEEN INTERVAL 1814399 SECONDS PRECEDING AND INTERVAL 7 DAYS PRECEDING),
           terminal_known_21d AS (terminal
                                  RANGE BETWEEN INTERVAL 2419199 SECONDS PRECEDING AND INTERVAL 7 DAYS PRECEDING),
           terminal_known_28d AS (terminal
                                  RANGE BETWEEN INTERVAL 3023999 SECONDS PRECEDING AND INTERVAL 7 DAYS PRECEDING),
           terminal_known_30d AS (terminal
                                  RANGE BETWEEN INTERVAL 3196799 SECONDS PRECEDING AND INTERVAL 7 DAYS PRECEDING),
           terminal_known_all AS (terminal RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 7 DAYS PRECEDING),
           pair_past_90d AS (PARTITION BY customer_id, terminal_id ORDER BY event_time
                              RANGE BETWEEN INTERVAL 7775999 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW)
)
SELECT event_id,
       -- the handbook's 15
       amount AS tx_amount,
       CASE WHEN extract(isodow FROM event_time AT TIME ZONE 'UTC') >= 6 THEN 1 ELSE 0 END AS tx_during_weekend,
       CASE WHEN extract(hour FROM event_time AT TIME ZONE 'UTC') <= 6 THEN 1 ELSE 0 END AS tx_during_night,
       customer_id_nb_tx_1day_window,
       customer_id_nb_tx_7day_window,
       customer_id_nb_tx_30day_window,
       customer_id_avg_amount_1day_window,
       customer_id_avg_amount_7day_window,
       customer_id_avg_amount_30day_window,
       terminal_id_nb_tx_1day_window,
       terminal_id_nb_tx_7day_window,
       terminal_id_nb_tx_30day_window,
       CASE WHEN terminal_id_nb_tx_1day_window > 0
            THEN terminal_id_nb_fraud_1day_window / terminal_id_nb_tx_1day_window
            WHEN terminal_id_nb_tx_1day_window = 0 THEN 0 END AS terminal_id_risk_1day_window,
       CASE WHEN terminal_id_nb_tx_7day_window > 0
            THEN terminal_id_nb_fraud_7day_window / terminal_id_nb_tx_7day_window
            WHEN terminal_id_nb_tx_7day_window = 0 THEN 0 END AS terminal_id_risk_7day_window,
       CASE WHEN terminal_id_nb_tx_30day_window > 0
            THEN terminal_id_nb_fraud_30day_window / terminal_id_nb_tx_30day_window
            WHEN terminal_id_nb_tx_30day_window = 0 THEN 0 END AS terminal_id_risk_30day_window,
       -- the amount against the customer's and the terminal's own past
       amount / NULLIF(customer_past_mean_7d, 0) AS customer_amount_ratio_7d,
       (amount - customer_past_mean_7d) / NULLIF(customer_past_std_7d, 0) AS customer_amount_z_7d,
       amount / NULLIF(customer_past_mean_30d, 0) AS customer_amount_ratio_30d,
       (amount - customer_past_mean_30d) / NULLIF(customer_past_std_30d, 0) AS customer_amount_z_30d,
       amount / NULLIF(customer_past_mean_90d, 0) AS customer_amount_ratio_90d,
       (amount - customer_past_mean_90d) / NULLIF(customer_past_std_90d, 0) AS customer_amount_z_90d,
       amount / NULLIF(customer_past_mean_all, 0) AS customer_amount_ratio_all,
       (amount - customer_past_mean_all) / NULLIF(customer_past_std_all, 0) AS customer_amount_z_all,
       amount / NULLIF(terminal_past_mean_7d, 0) AS terminal_amount_ratio_7d,
       (amount - terminal_past_mean_7d) / NULLIF(terminal_past_std_7d, 0) AS terminal_amount_z_7d,
       amount / NULLIF(terminal_past_mean_30d, 0) AS terminal_amount_ratio_30d,
       (amount - terminal_past_mean_30d) / NULLIF(terminal_past_std_30d, 0) AS terminal_amount_z_30d,
       amount / NULLIF(terminal_past_mean_90d, 0) AS terminal_amount_ratio_90d,
       (amount - terminal_past_mean_90d) / NULLIF(terminal_past_std_90d, 0) AS terminal_amount_z_90d,
       amount / NULLIF(terminal_past_mean_all, 0) AS terminal_amount_ratio_all,
       (amount - terminal_past_mean_all) / NULLIF(terminal_past_std_all, 0) AS terminal_amount_z_all,
       amount / NULLIF(customer_past_max_30d, 0) AS customer_amount_to_max_30d,
       -- the customer's unusually large payments before this one
       CASE WHEN customer_id IS NOT NULL
            THEN count(*) FILTER (WHERE kind = 'payment' AND amount > 2.6 * customer_past_mean_30d) OVER large_1d END
            AS customer_nb_large_1d,
       CASE WHEN customer_id IS NOT NULL
            THEN count(*) FILTER (WHERE kind = 'payment' AND amount > 2.6 * customer_past_mean_30d) OVER large_3d END
            AS customer_nb_large_3d,
       CASE WHEN customer_id IS NOT NULL
            THEN count(*) FILTER (WHERE kind = 'payment' AND amount > 2.6 * customer_past_mean_30d) OVER large_7d END
            AS customer_nb_large_7d,
       CASE WHEN customer_id IS NOT NULL
            THEN count(*) FILTER (WHERE kind = 'payment' AND amount > 2.6 * customer_past_mean_30d) OVER large_14d END
            AS customer_nb_large_14d,
       -- delayed frauds
       terminal_id_nb_fraud_1day_window,
       terminal_id_nb_fraud_7day_window,
       terminal_id_nb_fraud_14day_window,
       terminal_id_nb_fraud_21day_window,
       terminal_id_nb_fraud_28day_window,
       terminal_id_nb_fraud_30day_window,
       terminal_id_nb_tx_14day_window,
       terminal_id_nb_tx_21day_window,
       terminal_id_nb_tx_28day_window,
       CASE WHEN terminal_id_nb_tx_14day_window > 0
            THEN terminal_id_nb_fraud_14day_window / terminal_id_nb_tx_14day_window
            WHEN terminal_id_nb_tx_14day_window = 0 THEN 0 END AS terminal_id_risk_14day_window,
       CASE WHEN terminal_id_nb_tx_21day_window > 0
            THEN terminal_id_nb_fraud_21day_window / terminal_id_nb_tx_21day_window
            WHEN terminal_id_nb_tx_21day_window = 0 THEN 0 END AS terminal_id_risk_21day_window,
       CASE WHEN terminal_id_nb_tx_28day_window > 0
            THEN terminal_id_nb_fraud_28day_window / terminal_id_nb_tx_28day_window
            WHEN terminal_id_nb_tx_28day_window = 0 THEN 0 END AS terminal_id_risk_28day_window,
       customer_id_nb_fraud_1day_window,
       customer_id_nb_fraud_7day_window,
       customer_id_nb_fraud_14day_window,
       customer_id_nb_fraud_21day_window,
       customer_id_nb_fraud_28day_window,
       customer_id_nb_fraud_30day_window,
       -- the last known label at the terminal, and its running streak of frauds: labels since the last genuine one
       CASE WHEN terminal_id IS NOT NULL AND terminal_genuine IS NOT NULL
            THEN if(count(*) FILTER (WHERE kind = 'label') OVER streak > 0, 1, 0) END AS terminal_last_label,
       extract(epoch FROM event_time - terminal_known_at) AS terminal_last_label_age_s,
       CASE WHEN terminal_id IS NOT NULL AND terminal_genuine IS NOT NULL
            THEN count(*) FILTER (WHERE kind = 'label') OVER streak END AS terminal_streak,
       CASE WHEN terminal_id IS NOT NULL AND terminal_genuine IS NOT NULL
            THEN extract(epoch FROM event_time - min(event_time) FILTER (WHERE kind = 'label') OVER streak) + 604800 END
            AS terminal_streak_age_s,
       -- habits
       extract(epoch FROM event_time - customer_previous_at) AS customer_since_previous_s,
       customer_terminal_nb_tx_90day_window,
       extract(hour FROM event_time AT TIME ZONE 'UTC') AS tx_hour,
       extract(isodow FROM event_time AT TIME ZONE 'UTC') AS tx_weekday
FROM known
WINDOW large_1d AS (PARTITION BY customer_id ORDER BY event_time
                     RANGE BETWEEN INTERVAL 86399 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
       large_3d AS (PARTITION BY customer_id ORDER BY event_time
                     RANGE BETWEEN INTERVAL 259199 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
       large_7d AS (PARTITION BY customer_id ORDER BY event_time
                     RANGE BETWEEN INTERVAL 604799 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
       large_14d AS (PARTITION BY customer_id ORDER BY event_time
                     RANGE BETWEEN INTERVAL 1209599 SECONDS PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
       streak AS (PARTITION BY terminal_id, terminal_genuine ORDER BY event_time
                  RANGE BETWEEN INTERVAL 2591999 SECONDS PRECEDING AND CURRENT ROW)
